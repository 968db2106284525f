// The widget: one state, from which everything on the screen follows, and what the reader does to it.
"use strict";

(function (root) {
  const { numbers, run } = root.nadamCore;
  const { say } = root.nadamDraw;
  const { SLIDERS, page, options, brief } = root.nadamPage;

  const SECONDS = 6; // a whole run
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  class Widget {
    constructor(box) {
      this.box = box;
      this.find = (selector) => box.querySelector(selector);
      this.told = JSON.parse(box.dataset.told);
      box.innerHTML = page(this.told);
      box.parentElement.classList.add("play-on");
      this.plots = new root.nadamPlots.Plots(this.find, this.told);
      const restored = root.nadamState.read(location.hash, this.told);
      this.state = restored ?? { ...this.told.preset };
      this.compute();
      this.fit();
      this.listen();
      new ResizeObserver(() => this.fit()).observe(this.find(".play-plots"));
      if (restored) addEventListener("load", () => this.reveal());
      else if (this.told.autoplay) this.playWhenSeen();
    }

    get T() {
      return this.told.surfaces[this.state.surface].steps;
    }

    compute() {
      const { state, told } = this, kind = told.dialects[state.dialect];
      state.t = Math.min(state.t, this.T);
      if (!state.show.includes(state.of)) state.of = state.show.at(-1);
      this.runs = Object.fromEntries(state.show.map((name) => {
        const rule = told.rules[name], steps = numbers(rule, kind, state, this.T);
        return [name, run({ ...state, rule, kind, steps })];
      }));
      this.settings();
    }

    // The controls show the state.
    settings() {
      const { state } = this;
      for (const input of this.box.querySelectorAll("[data-slide]")) {
        const stops = SLIDERS[input.dataset.slide][3], value = state[input.dataset.slide];
        const off = stops.map((stop) => Math.abs(stop - value));
        input.value = off.indexOf(Math.min(...off));
        input.setAttribute("aria-valuetext", value);
        input.nextElementSibling.textContent = value;
      }
      this.find('[data-select="of"]').innerHTML = options(Object.fromEntries(state.show.map((name) => [name, name])));
      for (const select of this.box.querySelectorAll("[data-select]")) select.value = state[select.dataset.select] ?? "none";
      for (const chip of this.box.querySelectorAll("[data-name]")) {
        chip.setAttribute("aria-pressed", state.show.includes(chip.dataset.name));
      }
      this.find("[data-scrub]").max = this.T;
    }

    fit() {
      if (!this.plots.fit()) return;
      this.plots.ground(this.state);
      this.draw();
    }

    draw() {
      this.plots.paths(this.state, this.runs);
      this.moment();
    }

    // The lines move with the moment; what is written changes with its whole step.
    moment() {
      this.plots.moment(this.state);
      const whole = Math.floor(this.state.t);
      if (this.playing && whole === this.written) return;
      this.written = whole;
      this.plots.dissect(this.state, this.runs[this.state.of], whole);
      for (const chip of this.box.querySelectorAll("[data-name]")) {
        const made = this.runs[chip.dataset.name];
        say(chip.lastElementChild, made ? brief(made.loss[whole]) : "");
      }
      this.find("[data-scrub]").value = whole;
      say(this.find(".play-step"), `${whole} / ${this.T}`);
    }

    // At most one drawing a frame, however fast the events come.
    soon(what) {
      const order = ["moment", "draw", "fit"];
      this.wanted = order[Math.max(order.indexOf(this.wanted), order.indexOf(what))];
      this.frame ??= requestAnimationFrame(() => {
        const wanted = this.wanted;
        this.frame = this.wanted = undefined;
        this[wanted]();
        this.say();
      });
    }

    change(patch) {
      const moved = "surface" in patch;
      Object.assign(this.state, patch);
      this.compute();
      this.soon(moved ? "fit" : "draw");
    }

    // ---- time

    go(t) {
      this.pause();
      this.state.t = Math.max(0, Math.min(this.T, Math.round(t)));
      this.soon("moment");
    }

    play() {
      if (this.state.t >= this.T) this.state.t = 0;
      this.playing = true;
      this.find('[data-do="play"]').textContent = "Pause";
      let last = performance.now();
      const tick = (now) => {
        if (!this.playing) return;
        const passed = Math.max(0, now - last) / 1000;
        this.state.t = Math.min(this.T, this.state.t + (passed * this.T) / SECONDS);
        last = now;
        this.moment();
        if (this.state.t < this.T) requestAnimationFrame(tick);
        else this.pause();
      };
      requestAnimationFrame(tick);
    }

    pause() {
      if (!this.playing) return;
      this.playing = false;
      this.state.t = Math.floor(this.state.t);
      this.find('[data-do="play"]').textContent = "Play";
      this.soon("moment");
    }

    playWhenSeen() {
      const seen = new IntersectionObserver(([entry]) => {
        if (!entry.isIntersecting) return;
        seen.disconnect();
        if (still.matches || this.touched) return;
        this.state.t = 0;
        this.play();
      }, { threshold: 0.6 });
      seen.observe(this.find(".play-plots"));
    }

    // Announce to screen readers once input settles.
    say(text) {
      clearTimeout(this.saying);
      if (this.playing) return;
      this.saying = setTimeout(() => {
        const losses = Object.entries(this.runs).map(([name, { loss }]) => `${name} ${brief(loss[this.state.t])}`);
        this.find(".play-said").textContent = text ?? `Step ${this.state.t}. Loss: ${losses.join(", ")}.`;
      }, 500);
    }

    // ---- the state as a link

    async link() {
      const button = this.find('[data-do="link"]');
      history.replaceState(null, "", root.nadamState.write(this.state, this.told));
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      button.textContent = copied ? "Copied" : "In URL";
      setTimeout(() => { button.textContent = "Link"; }, 1500);
      this.say(copied ? "The link is copied." : "The link is in the address bar.");
    }

    restore() {
      const state = root.nadamState.read(location.hash, this.told);
      if (!state) return;
      this.pause();
      this.change(state);
      this.reveal();
    }

    reveal() {
      this.box.scrollIntoView({ block: "start" });
    }

    // ---- what the reader does

    toggle(name) {
      const shown = this.state.show.includes(name);
      const kept = Object.keys(this.told.rules).filter((n) => (n === name ? !shown : this.state.show.includes(n)));
      if (kept.length) this.change({ show: kept, of: shown ? this.state.of : name });
    }

    start(point) {
      const { xlim, ylim } = this.told.surfaces[this.state.surface];
      const within = (x, [low, high]) => +Math.max(low, Math.min(high, x)).toFixed(2);
      this.change({ start: [within(point[0], xlim), within(point[1], ylim)] });
    }

    key(event) {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!move || !event.target.closest(".play-handle")) return;
      event.preventDefault();
      this.start(this.state.start.map((x, i) => x + (event.shiftKey ? 0.01 : 0.1) * move[i]));
    }

    input({ target }) {
      const { slide, select } = target.dataset, { value } = target;
      if (slide) this.change({ [slide]: SLIDERS[slide][3][value] });
      else if (select === "psi") this.change({ psi: value === "none" ? null : Number(value) });
      else if (select === "surface") this.change({ surface: value, ...this.told.surfaces[value].begin });
      else if (select) this.change({ [select]: value });
      else this.go(Number(value));
    }

    listen() {
      const does = {
        play: () => (this.playing ? this.pause() : this.play()),
        back: () => this.go(Math.ceil(this.state.t) - 1),
        step: () => this.go(Math.floor(this.state.t) + 1),
        reset: () => { this.pause(); this.change(this.told.preset); },
        link: () => { this.pause(); this.link(); },
      };
      const { box } = this, plane = this.find(".play-plane");
      for (const kind of ["pointerdown", "keydown"]) box.addEventListener(kind, () => { this.touched = true; });
      box.addEventListener("click", ({ target }) => {
        const { do: what, name } = target.closest("button")?.dataset ?? {};
        if (what) does[what]();
        else if (name) this.toggle(name);
      });
      box.addEventListener("input", (event) => this.input(event));
      plane.addEventListener("keydown", (event) => this.key(event));
      // a finger on the handle drags it and not the page; touch-action does not reach into a drawing
      const hold = (event) => { if (event.target.closest(".play-handle")) event.preventDefault(); };
      plane.addEventListener("touchstart", hold, { passive: false });
      plane.addEventListener("click", (event) => { if (!event.target.closest(".play-handle")) this.start(this.plots.pointAt(event)); });
      this.drag(plane, ".play-handle", (event) => this.start(this.plots.pointAt(event)));
      this.drag(this.find(".play-loss"), "svg", (event) => this.go(this.plots.stepAt(event)));
      addEventListener("hashchange", () => this.restore());
      const motion = () => { this.find('[data-do="play"]').hidden = still.matches; };
      still.addEventListener("change", motion);
      motion();
    }

    // `move` as long as a pointer is down that went down on what `grip` selects.
    drag(area, grip, move) {
      let held = false;
      area.addEventListener("pointerdown", (event) => {
        held = event.button === 0 && event.target.closest(grip) !== null;
        if (!held) return;
        area.setPointerCapture(event.pointerId);
        if (grip === "svg") move(event);
      });
      area.addEventListener("pointermove", (event) => { if (held) move(event); });
      for (const kind of ["pointerup", "pointercancel"]) area.addEventListener(kind, () => { held = false; });
    }
  }

  root.nadamWidget = { start: (box) => { box.widget = new Widget(box); } };
})(globalThis);
