// A state and the fragment of an address that stands for it: #w=fig-play&f=ravine&show=Adam,Nadam&…
"use strict";

(function (root) {
  const number = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined);
  const between = (low, high) => (text) => (number(text) >= low && number(text) <= high ? number(text) : undefined);
  const among = (names) => (text) => (names.includes(text) ? text : undefined);

  // How each part is read; undefined where the text says nothing sensible.
  function readers(told) {
    return {
      f: ["surface", among(Object.keys(told.surfaces))],
      show: ["show", (text) => {
        const names = Object.keys(told.rules).filter((name) => text.split(",").includes(name));
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
      dialect: ["dialect", among(Object.keys(told.dialects))],
      psi: ["psi", (text) => (text === "none" ? null : between(0, 10)(text))],
      of: ["of", among(Object.keys(told.rules))],
      t: ["t", (text) => (/^\d{1,4}$/.test(text) ? Number(text) : undefined)],
    };
  }

  function write(state, told) {
    const text = (value) => (value === null ? "none" : [value].flat().join(","));
    const parts = Object.entries(readers(told)).map(([key, [field]]) => `${key}=${text(state[field])}`);
    return `#w=${encodeURIComponent(told.name)}&${parts.join("&")}`;
  }

  // The state that a fragment describes, or null if it is not for this widget. What it does not say, or says wrongly,
  // is as in the preset.
  function read(hash, told) {
    const said = new URLSearchParams(hash.replace(/^#/, ""));
    if (said.get("w") !== told.name) return null;
    const state = { ...told.preset };
    for (const [key, [field, parse]] of Object.entries(readers(told))) {
      const value = said.has(key) ? parse(said.get(key)) : undefined;
      if (value !== undefined) state[field] = value;
    }
    return state;
  }

  root.nadamState = { read, write };
})(globalThis);
