// The widget alone on a page, for other pages to embed. The fragment names a preset, whose parts it has, and the state.
"use strict";

(function (root) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => { document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", theme);
  theme();

  function start(box) {
    const { whole, presets } = JSON.parse(box.dataset.given), asked = new URLSearchParams(location.hash.slice(1)).get("p");
    const name = Object.hasOwn(presets, asked) ? asked : "all", { rules, label, ...parts } = presets[name];
    const shown = Object.fromEntries(rules.map((rule) => [rule, whole.rules[rule]]));
    box.setAttribute("aria-label", label);
    box.dataset.given = JSON.stringify({ ...whole, ...parts, rules: shown, name: "alone", alone: true });
    root.nadamWidget.start(box);
  }

  root.nadamAlone = { start };
})(globalThis);
