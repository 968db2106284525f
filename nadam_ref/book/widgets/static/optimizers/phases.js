// The phase diagram of momentum and NAG: one setting (η, μ), a bar from the smallest curvature to the largest.
"use strict";

(function (root) {
  const { make, set, say, scale, place, regions, closed } = root.nadamDraw;
  const { open, show, superscript } = root.nadamPage;
  const { sum, discriminant, factor, best, course } = root.nadamQuadratic;

  const LEVELS = [0.5, 0.7, 0.8, 0.9], CELLS = [220, 140];
  const LEFT = 34, BELOW = 22, T = 40;
  const KAPPAS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
  const WAYS = { along: "none", across: "5 4" };
  const real = (name, x, mu) => (sum(name, x, mu) < 0 ? "jumps" : "creeps");
  const stable = (d, ...at) => (Math.abs(d) < 1e-12 ? "at the edge" : d < 0 ? "swings" : real(...at)); // 1e-12: rounding
  const kind = (...at) => (factor(...at) >= 1 ? "diverges" : stable(discriminant(...at), ...at));
  const verdict = (left) => (left >= 1 ? "never" : Math.ceil(Math.log(10) / -Math.log(left) - 1e-9));

  const slider = (key, letter, said, min, max, step) => `<label class="play-row"><span>${letter}</span>
    <input type="range" data-slide="${key}" aria-label="${said}" min="${min}" max="${max}" step="${step}"><output></output></label>`;

  function page({ names }) {
    const column = (name) => `<div class="phase" data-phase="${name}"><p>${name}</p>
      <svg class="phase-plane" role="group" aria-label="${name}: how fast it shrinks the distance, by ηλ and μ"></svg>
      <svg class="phase-course" role="img" aria-label="${name}: θ along the ravine and across it, against the step"></svg></div>`;
    const row = (name) => `<tr><th scope="row">${name}</th><td data-cell="${name} along"></td><td data-cell="${name} across"></td>
      <td data-cell="${name} steps"></td></tr>`;
    const buttons = names.map((name) => `<button type="button" data-best="${name}">${name} at its best</button>`);
    return `<div class="phase-planes">${names.map(column).join("")}</div>
      <div class="play-bar">${buttons.join("")}<button type="button" data-best="">Reset</button></div>
      <div class="phase-controls"><div>${slider("lr", "η", "learning rate", -270, 70, 1)}${slider("mu", "μ", "momentum constant mu", 0, 0.99, 0.01)}
        ${slider("kappa", "κ", "condition number kappa", 0, KAPPAS.length - 1, 1)}</div>
      <table><thead><tr><td></td><th scope="col">along, <i>λ</i> = 1</th><th scope="col">across, <i>λ</i> = <i>κ</i></th>
        <th scope="col">steps per factor<br>of ten, rounded up</th></tr></thead><tbody>${names.map(row).join("")}</tbody></table></div>
      <p class="play-said" role="status"></p>`;
  }

  class Phases {
    constructor(box) {
      Object.assign(this, open(box, page));
      this.state = { ...this.given.preset };
      this.planes = this.given.names.map((name) => this.plane(name));
      this.fit();
      this.listen();
      new ResizeObserver(() => this.fit()).observe(this.find(".phase-planes"));
    }

    plane(name) {
      const within = this.find(`[data-phase="${name}"]`), svg = within.querySelector(".phase-plane");
      const [low, high] = this.given.window.map(Math.log10);
      const on = (f) => (u, mu) => f(name, 10 ** u, mu);
      const map = regions(on(factor), [low, high], [0, 1], LEVELS, ...CELLS);
      const swings = regions(on((...at) => (factor(...at) < 1 ? Math.exp(discriminant(...at)) : 9)), [low, high], [0, 1], [1], ...CELLS);
      const stable = regions(on(factor), [low, high], [0, 1], [1], ...CELLS);
      return { name, svg, map, swings, stable, low, high, trace: within.querySelector(".phase-course") };
    }

    fit() {
      if (!this.planes[0].svg.clientWidth) return;
      for (const plane of this.planes) this.ground(plane);
      this.draw();
    }

    ground(plane) {
      const { svg, low, high } = plane, width = svg.clientWidth, height = svg.clientHeight;
      const focused = plane.handle && document.activeElement === plane.handle;
      Object.assign(plane, { x: scale([low, high], [LEFT, width - 2]), y: scale([0, 1], [height - BELOW, 4]) });
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      svg.replaceChildren();
      const land = make("g", { "aria-hidden": "true" }, svg);
      const area = `M${LEFT} 4H${width - 2}V${height - BELOW}H${LEFT}Z`;
      const drawn = (found) => found.map((region) => closed(region, plane.x, plane.y)).join("");
      make("path", { class: "phase-lost", d: area + drawn(plane.stable), "fill-rule": "evenodd" }, land);
      make("path", { class: "phase-swings", d: drawn(plane.swings) }, land);
      for (const region of plane.map) make("path", { class: "phase-level", d: closed(region, plane.x, plane.y) }, land);
      const write = (x, y, text, anchor = "middle") => {
        const made = make("text", { x, y, "text-anchor": anchor }, land);
        made.textContent = text;
        return made;
      };
      for (let k = Math.ceil(low); k <= high; k++) write(plane.x(k), height - 6, `10${superscript(k)}`);
      write(width - 4, height - 6, "ηλ", "end");
      for (const mu of [0, 0.5]) write(LEFT - 5, plane.y(mu) + 4, String(mu), "end");
      write(LEFT - 5, 14, "μ", "end");
      LEVELS.toReversed().forEach((level, k) => {
        const mu = 0.05 + 0.075 * k;
        write(plane.x(Math.log10((1 - level) * (1 - mu / level))), plane.y(mu) + 4, String(level));
      });
      write(plane.x(-2.1), plane.y(0.3), "creeps");
      write(plane.x(-0.55), plane.y(0.93), "swings");
      write(plane.x(0.13), plane.y(0.015), "jumps →", "end");
      const lost = [plane.x(0.7), plane.y(0.97)];
      set(write(...lost, "diverges", "end"), { transform: `rotate(-90 ${place(...lost)})` });
      const said = { tabindex: 0, role: "button", "aria-roledescription": "bar to drag", class: "play-handle" };
      plane.handle = make("g", said, svg);
      plane.bar = ["play-grip", "phase-bar"].map((name) => make("path", { class: name }, plane.handle));
      plane.ends = [0, 1].map(() => make("circle", { class: "play-ring", r: 6 }, plane.handle));
      if (focused) plane.handle.focus();
    }

    draw() {
      const { lr, mu, kappa } = this.state, X = { along: lr, across: lr * kappa };
      for (const plane of this.planes) {
        const at = Object.values(X).map((x) => [plane.x(Math.log10(x)), plane.y(mu)]);
        const line = `M${at.map(([a, b]) => place(a, b)).join("L")}`;
        for (const path of plane.bar) set(path, { d: line });
        plane.ends.forEach((end, k) => set(end, { cx: at[k][0].toFixed(1), cy: at[k][1].toFixed(1) }));
        set(plane.handle, { "aria-label": `η ${show(lr, 3)}, μ ${show(mu, 3)}. Arrow keys move it.` });
        this.course(plane, X);
        const left = Object.entries(X).map(([way, x]) => {
          const f = factor(plane.name, x, mu);
          say(this.find(`[data-cell="${plane.name} ${way}"]`), `${f.toFixed(3)} ${kind(plane.name, x, mu)}`);
          return f;
        });
        say(this.find(`[data-cell="${plane.name} steps"]`), String(verdict(Math.max(...left))));
      }
      const value = { lr: Math.round(100 * Math.log10(lr)), mu, kappa: KAPPAS.indexOf(kappa) };
      for (const input of this.box.querySelectorAll("[data-slide]")) {
        const key = input.dataset.slide, text = show(this.state[key], 3);
        input.value = value[key];
        input.setAttribute("aria-valuetext", text);
        input.nextElementSibling.textContent = text;
      }
    }

    course({ name, trace }, X) {
      const width = trace.clientWidth, height = trace.clientHeight, far = 50 * height;
      const x = scale([0, T], [LEFT, width - 4]), y = scale([-1.15, 1.15], [height - 4, 4]);
      set(trace, { viewBox: `0 0 ${width} ${height}`, style: `--look: ${this.given.looks[name].colour}` });
      trace.replaceChildren();
      const write = (a, b, text, anchor) => { make("text", { x: a, y: b, "text-anchor": anchor }, trace).textContent = text; };
      make("path", { class: "play-grid", d: `M${LEFT} ${y(0).toFixed(1)}H${width - 4}` }, trace);
      write(LEFT - 5, y(1) + 6, "1", "end");
      write(LEFT - 5, y(0) + 4, "0", "end");
      write((LEFT + width) / 2, 12, "θ / θ₀", "middle");
      write(width - 6, height - 6, `step ${T}`, "end");
      for (const [way, dash] of Object.entries(WAYS)) {
        const at = course(name, X[way], this.state.mu, T).map((v, t) => [x(t), Math.max(-far, Math.min(far, y(v)))]);
        const shown = at.slice(0, 1 + at.findIndex(([, b], t) => Math.abs(b) === far || t === T));
        make("path", { class: "play-line", d: `M${shown.map(([a, b]) => place(a, b)).join("L")}`, "stroke-dasharray": dash }, trace);
      }
      if (Object.values(X).some((at) => factor(name, at, this.state.mu) >= 1)) write(width - 6, 16, "diverges", "end");
    }

    change(patch) {
      Object.assign(this.state, patch);
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.draw();
        clearTimeout(this.saying);
        this.saying = setTimeout(() => this.say(), 500);
      });
    }

    say() {
      const rows = this.given.names.map((name) => `${name}: along ${this.cell(name, "along")}, across ${this.cell(name, "across")}`);
      this.find(".play-said").textContent = `η ${show(this.state.lr, 3)}, μ ${show(this.state.mu, 3)}. ${rows.join("; ")}.`;
    }

    cell(name, which) {
      return this.find(`[data-cell="${name} ${which}"]`).textContent;
    }

    // The bar with its left end at a rate; both ends stay in the window.
    move(exponent, mu) {
      const { low, high } = this.planes[0], last = high - Math.log10(this.state.kappa);
      this.change({
        lr: +(10 ** Math.max(low, Math.min(last, exponent))).toPrecision(3),
        mu: +Math.max(0, Math.min(0.99, mu)).toFixed(3),
      });
    }

    listen() {
      const { box } = this;
      box.addEventListener("click", ({ target }) => {
        const name = target.closest("[data-best]")?.dataset.best;
        if (name === "") this.change(this.given.preset);
        else if (name) this.change(best(name, this.state.kappa));
      });
      box.addEventListener("input", ({ target: { dataset: { slide }, value } }) => {
        if (slide === "lr") this.move(value / 100, this.state.mu);
        else if (slide === "mu") this.change({ mu: Number(value) });
        else {
          this.state.kappa = KAPPAS[value];
          this.move(Math.log10(this.state.lr), this.state.mu);
        }
      });
      for (const plane of this.planes) this.drag(plane);
    }

    drag(plane) {
      const { svg } = plane;
      let grip = null;
      const point = (event) => {
        const { left, top } = svg.getBoundingClientRect();
        return [plane.x.back(event.clientX - left), plane.y.back(event.clientY - top)];
      };
      const hold = (event) => { if (event.target.closest(".play-handle")) event.preventDefault(); };
      svg.addEventListener("touchstart", hold, { passive: false });
      svg.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        const [u, mu] = point(event), on = event.target.closest(".play-handle");
        // taken anywhere else, the bar comes with its middle
        const half = Math.log10(this.state.kappa) / 2;
        grip = on ? [Math.log10(this.state.lr) - u, this.state.mu - mu] : [-half, 0];
        svg.setPointerCapture(event.pointerId);
        this.move(u + grip[0], mu + grip[1]);
      });
      svg.addEventListener("pointermove", (event) => {
        if (!grip) return;
        const [u, mu] = point(event);
        this.move(u + grip[0], mu + grip[1]);
      });
      for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => { grip = null; });
      svg.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!by) return;
        event.preventDefault();
        const fine = event.shiftKey ? 0.2 : 1;
        this.move(Math.log10(this.state.lr) + 0.05 * fine * by[0], this.state.mu + 0.05 * fine * by[1]);
      });
    }
  }

  root.nadamPhases = { start: (box) => { box.phases = new Phases(box); } };
})(globalThis);
