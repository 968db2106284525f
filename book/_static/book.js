// What the theme leaves out for readers with a keyboard or a screen reader. No dependencies; the page reads well without it.
"use strict";

// A box that scrolls must be reachable by the keyboard.
function reachScrollers() {
  const kinds = "pre, figure, mjx-container, .pst-scrollable-table-container";
  const boxes = document.querySelectorAll(`.bd-article :is(${kinds})`);
  for (const box of boxes) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// Names and roles, where the theme and the bibliography give none or wrong ones.
function nameParts() {
  document.getElementById("pst-primary-sidebar")?.setAttribute("role", "complementary");
  document.getElementById("pst-primary-sidebar")?.setAttribute("aria-label", "Book");
  // what is written on a control is its name
  const written = document.querySelectorAll("button.search-button-field, .bd-article summary");
  for (const control of written) control.removeAttribute("aria-label");
  const modes = "Color mode: Light, Dark or System Settings";
  for (const button of document.querySelectorAll("button.theme-switch-button")) button.setAttribute("aria-label", modes);
  for (const entry of document.querySelectorAll(".citation-list, .citation")) entry.removeAttribute("role");
  // the list of modules has lists where it should have items with lists
  for (const list of document.querySelectorAll("article ul > ul")) list.previousElementSibling?.append(list);
}

// The name of a column that is a formula: not every screen reader, and no checker, takes it from MathML.
function nameColumns() {
  for (const formula of document.querySelectorAll("th mjx-container")) {
    formula.role = "math";
    formula.ariaLabel = formula.textContent;
  }
}

// On a phone a listing is wider than the screen: it is folded, under the name of what it defines or of its section.
function foldListings() {
  const phone = matchMedia("(max-width: 600px)");
  const listings = document.querySelectorAll(".bd-article :is(.cell_input, .cell_output div.highlight-python)");
  const folds = [...listings].filter((listing) => !listing.closest("details")).map((listing) => {
    const fold = document.createElement("details");
    const code = listing.querySelector("pre").textContent.trim();
    const section = listing.closest("section")?.querySelector("h1, h2, h3");
    const words = [...(section?.childNodes ?? [])].filter((node) => node.nodeName === "#text").map((node) => node.data);
    const name = code.match(/^(?:def|class) (\w+)/m)?.[1] ?? (words.join("").trim() || "…");
    fold.className = "listing";
    fold.append(Object.assign(document.createElement("summary"), {textContent: `Show the code: ${name}`}));
    listing.replaceWith(fold);
    fold.append(listing);
    return fold;
  });
  const fit = () => folds.forEach((fold) => (fold.open = !phone.matches));
  phone.addEventListener("change", fit);
  fit();
}

// Above tables whose rows say how they compare: which of them to show; those of the faults, which part they are of. Without this script all are shown.
function filterRows() {
  const place = document.querySelector(".bd-article div.filter");
  if (!place) return;
  const rows = [...document.querySelectorAll("td .compared")].map((mark) => [mark.closest("tr"), mark.textContent]);
  const kinds = ["All", ...new Set(rows.map(([, kind]) => kind))];
  const choices = kinds.map((kind) => {
    const count = rows.filter(([, own]) => kind === "All" || own === kind).length;
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), {type: "radio", name: "compared"});
    input.checked = kind === "All";
    input.addEventListener("change", () => {
      for (const [row, own] of rows) row.hidden = kind !== "All" && own !== kind;
    });
    label.append(input, ` ${kind} (${count})`);
    return label;
  });
  const field = document.createElement("fieldset");
  field.append(Object.assign(document.createElement("legend"), {textContent: "Show"}), ...choices);
  place.append(field);
}

// The theme's button for paper. Its own handler would be a script within the page, which the page's policy refuses.
function printByButton() {
  for (const button of document.querySelectorAll("button[data-print]")) button.addEventListener("click", () => print());
}

// Paper is light. A reader's dark page comes back afterwards.
function printLight() {
  const root = document.documentElement;
  const paper = matchMedia("print");
  paper.addEventListener("change", () => {
    if (paper.matches) root.dataset.onScreen = root.dataset.theme;
    root.dataset.theme = paper.matches ? "light" : root.dataset.onScreen;
  });
}

// Without a server the search cannot read the pages it has found: it lists them without an excerpt.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  nameParts();
  foldListings();
  filterRows();
  reachScrollers();
  printByButton();
  printLight();
  addEventListener("resize", reachScrollers);
  document.addEventListener("toggle", reachScrollers, true); // what was closed had no width
  // equations have their width only when they are typeset
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(nameColumns).then(reachScrollers));
});
