// A state and the fragment of an address that stands for it: #w=fig-play&f=ravine&show=Adam,Nadam&…
"use strict";

(function (root) {
  const number = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined);
  const between = (low, high) => (text) => (number(text) >= low && number(text) <= high ? number(text) : undefined);
  const among = (names) => (text) => (names.includes(text) ? text : undefined);

  // How each part is read; undefined where the text says nothing sensible.
  function readers(given) {
    return {
      f: ["surface", among(Object.keys(given.surfaces))],
      show: ["show", (text) => {
        const names = Object.keys(given.rules).filter((name) => text.split(",").includes(name));
        return names.length ? names : undefined;
      }],
      start: ["start", (text) => {
        const point = text.split(",").map(between(-100, 100));
        return point.length === 2 && !point.includes(undefined) ? point : undefined;
      }],
      lr: ["lr", between(1e-6, 10)],
      lrn: ["lrn", between(1e-6, 10)],
      mu: ["mu", between(0, 0.9999)],
      nu: ["nu", between(0, 0.99999)],
      dialect: ["dialect", among(Object.keys(given.dialects))],
      psi: ["psi", (text) => (text === "none" ? null : between(0, 10)(text))],
      turn: ["turn", between(0, 90)],
      noise: ["noise", between(0, 100)],
      seed: ["seed", (text) => (/^\d{1,6}$/.test(text) ? Number(text) : undefined)],
      best: ["best", (text) => (among(["true", "false"])(text) ? text === "true" : undefined)],
      of: ["of", among(Object.keys(given.rules))],
      t: ["t", (text) => (/^\d{1,4}$/.test(text) ? Number(text) : undefined)],
    };
  }

  function write(state, given) {
    const text = (value) => (value === null ? "none" : [value].flat().join(","));
    const parts = Object.entries(readers(given)).map(([key, [field]]) => `${key}=${text(state[field])}`);
    return `#w=${encodeURIComponent(given.name)}&${parts.join("&")}`;
  }

  // The state that a fragment describes, or null if it is not for this widget. What it does not say, or says wrongly,
  // is as in the preset.
  function read(hash, given) {
    const parts = new URLSearchParams(hash.replace(/^#/, ""));
    if (parts.get("w") !== given.name) return null;
    const state = { ...given.preset };
    for (const [key, [field, parse]] of Object.entries(readers(given))) {
      const value = parts.has(key) ? parse(parts.get(key)) : undefined;
      if (value !== undefined) state[field] = value;
    }
    return state;
  }

  root.nadamState = { read, write };
})(globalThis);
