// The widget's controls as HTML, and how numbers are written.
"use strict";

(function (root) {
  const { arrow, mark, HALF, dashes } = root.nadamDraw;

  const decades = (low, high) => {
    const found = [];
    for (let k = low; k < high; k++) for (const d of [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8]) found.push(+`${d}e${k}`);
    return [...found, +`1e${high}`];
  };
  const MU = [0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];
  const TURN = Array.from({ length: 19 }, (_, k) => 5 * k);
  const NOISE = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];
  const NU = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];
  // By the state's name: letter, hint, what a screen reader says, and the values at which the slider stops.
  const SLIDERS = {
    lr: ["η", "no norm", "learning rate of the rules without a norm", decades(-4, 0)],
    lrn: ["η", "with norm", "learning rate of the rules with a norm", decades(-3, 0)],
    mu: ["μ", "momentum", "momentum constant mu", MU],
    nu: ["ν", "norm", "decay of the norm, nu", NU],
    turn: ["turn", "degrees", "degrees by which the function is turned about its minimum", TURN],
    noise: ["σ", "noise", "standard deviation of the noise on each component of the gradient", NOISE],
  };
  const COLUMNS = { none: "no norm", sum: "sum of g²", rms: "mean of g²", max: "max of |g|" };
  const ROWS = ["no mo\u00admen\u00adtum", "classical", "Nesterov"];
  const SCHEDULES = { none: "constant", 0.004: "rises (report)" };
  const NUMBERS = { mu: "μ", nu: "ν", a: "a", c: "c", d: "d", eta: "η" };

  const superscript = (k) => [...String(k)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");

  function show(x, digits = 4) {
    if (!Number.isFinite(x)) return "∞";
    const size = Math.abs(x);
    if (size !== 0 && (size < 1e-3 || size >= 1e4)) {
      const [lead, power] = x.toExponential(digits - 1).split("e");
      return `${+lead}·10${superscript(+power)}`.replace("-", "−");
    }
    return String(+x.toPrecision(digits)).replace("-", "−");
  }

  // In few letters, for a legend.
  const brief = (x) => show(x, x !== 0 && (x < 1e-3 || x >= 1e4) ? 1 : 2);

  // θ ← …, with the letters of the one update that a rule uses; plainly, with those of the rule's own chapter.
  function formula(rule, plain) {
    if (plain) {
      const [of, ahead] = { none: ["g"], sum: ["m", "(μ m + g)"], mean: ["m̂", "m̄"] }[rule.momentum];
      const below = { none: "", sum: " / (√n + ε)", rms: " / (√n̂ + ε)", max: " / (n + ε)" }[rule.norm];
      return `θ ← θ − η ${rule.nesterov ? ahead : of}${below}`;
    }
    const top = rule.momentum === "none" ? "g" : rule.nesterov ? "(a m + c g)" : "a m";
    const under = { none: "", sum: " / (√n + ε)", rms: " / (d √n + ε)", max: " / (n + ε)" }[rule.norm];
    return `θ ← θ − η ${top}${under}`;
  }

  const sample = (inside) => `<svg class="play-sample" viewBox="0 0 26 12" aria-hidden="true">${inside}</svg>`;
  const options = (table) => Object.entries(table).map(([key, text]) => `<option value="${key}">${text}</option>`).join("");
  const select = (key, said, table) => `<select data-select="${key}" aria-label="${said}">${options(table)}</select>`;
  const button = (does, text) => `<button type="button" data-do="${does}">${text}</button>`;

  // The rules by momentum (rows) and norm (columns), as switches that are the legend too; in one line if they have only
  // one momentum or one norm, or if there are methods among them that have neither.
  function chooser(rules) {
    const rowOf = (rule) => (rule.nesterov ? 2 : rule.momentum === "none" ? 0 : 1);
    const columnOf = ({ norm }) => Object.keys(COLUMNS).indexOf(norm);
    const every = Object.values(rules);
    const few = every.some((rule) => rule.matrix) || [rowOf, columnOf].some((of) => new Set(every.map(of)).size === 1);
    const area = (i, j) => `--row: ${i}; --column: ${j}`;
    const chips = Object.entries(rules).map(([name, look]) => {
      const row = rowOf(look), column = columnOf(look);
      const line = `<path class="play-line" d="M1 6H25" stroke-dasharray="${dashes(look)}"/>`;
      const dot = `<path class="play-mark" d="${mark(look.marker, HALF[look.marker], 13, 6)}"/>`;
      return `<button type="button" class="play-chip" data-name="${name}" aria-pressed="false"
        style="--look: ${look.colour}; ${area(row + 2, column + 2)}"><b>${name}</b>${sample(line + dot)}<i></i><small></small></button>`;
    });
    const heads = Object.values(COLUMNS).map((text, k) => `<span style="${area(1, k + 2)}">${text}</span>`);
    const used = ROWS.slice(0, 1 + Math.max(...Object.values(rules).map(rowOf)));
    const sides = used.map((text, k) => `<span class="play-side" style="${area(k + 2, 1)}">${text}</span>`);
    const all = (few ? chips : [...heads, ...sides, ...chips]).join("");
    return `<div class="play-chooser${few ? " play-few" : ""}" role="group" aria-label="Optimizers shown">${all}</div>`;
  }

  function slider(key, given) {
    const [letter, norm, said, stops] = SLIDERS[key];
    const both = ["lr", "lrn"].every((rate) => given.sliders.includes(rate));
    const hint = key.startsWith("lr") && !both ? "learning rate" : norm;
    return `<label class="play-row"><span>${letter} <small>${hint}</small></span><input type="range" data-slide="${key}"
      aria-label="${said}" min="0" max="${stops.length - 1}"><output></output></label>`;
  }

  const choice = (key, letter, hint, said, table) =>
    `<label class="play-row play-choice"><span>${letter} <small>${hint}</small></span>${select(key, said, table)}</label>`;

  const best = `<button type="button" data-do="best" aria-pressed="false">Each at its best η</button>`;

  // Takes its place on the page, with what Python gave it.
  function open(box, page) {
    const given = JSON.parse(box.dataset.given);
    box.innerHTML = page(given);
    box.parentElement.classList.add("play-on");
    return { box, given, find: (selector) => box.querySelector(selector) };
  }

  function page(given) {
    const whole = given.step === "numbers", noisy = given.sliders.includes("noise");
    const titles = Object.fromEntries(Object.entries(given.surfaces).map(([key, { title }]) => [key, title]));
    const known = Object.fromEntries(Object.entries(given.dialects).map(([key, dialect]) => [key, dialect.label]));
    const numbers = Object.entries(NUMBERS).map(([key, letter]) => `<div><dt>${letter}</dt><dd data-number="${key}"></dd></div>`);
    const legend = ["momentum", "gradient", "whole"].map((key) => {
      const drawn = sample(`<path class="play-arrow play-${key}" d="${arrow([1, 6], [25, 6], 6)}"/>`);
      return `<li>${drawn}<span data-arrow="${key}"></span></li>`;
    });
    return `<div class="play-plots">
        <svg class="play-plane" role="group"></svg>
        <svg class="play-loss" role="img" aria-label="Loss at each step, on a logarithmic axis"></svg>
      </div>
      <div class="play-bar">${button("play", "Play")}${button("back", "Back")}${button("step", "Step")}
        <input type="range" data-scrub min="0" aria-label="Step"><output class="play-step"></output>
        ${button("reset", "Reset")}${button("link", "Link")}${given.alone ? "" : `<button type="button" data-do="embed" aria-expanded="false">Embed</button>`}</div>
      <textarea class="play-embed" rows="4" readonly hidden aria-label="HTML that shows this widget on another page"></textarea>
      <div class="play-controls">${chooser(given.rules)}
        <div>${choice("surface", "f", "function", "Function", titles)}${given.sliders.map((key) => slider(key, given)).join("")}
          <p class="play-more">${given.best ? best : ""}${noisy ? button("seed", "New noise") : ""}</p></div>
        ${whole ? choice("dialect", "Nadam", "as in", "Dialect of Nadam and NadaMax", known) : ""}
        ${whole ? choice("psi", "μ", "schedule", "Schedule of the momentum", SCHEDULES) : ""}</div>
      <div class="play-anatomy"${given.step === "none" ? " hidden" : ""}><svg class="play-lens" aria-hidden="true"></svg><div>
        <p><span>One step of ${select("of", "Optimizer taken apart", {})}</span><span class="play-formula"></span></p>
        <dl${whole ? "" : " hidden"}>${numbers.join("")}</dl><ul>${legend.join("")}</ul></div></div>
      <p class="play-said" role="status"></p>`;
  }

  root.nadamPage = { SLIDERS, NUMBERS, open, page, options, show, brief, formula, superscript };
})(globalThis);
