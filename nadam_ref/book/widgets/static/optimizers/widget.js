// The widget: one state, from which everything on the screen follows, and what the reader does to it.
"use strict";

(function (root) {
  const { follows, numbers, hasRate, run, bestRate } = root.nadamCore;
  const { say } = root.nadamDraw;
  const { SLIDERS, open, page, options, brief, show } = root.nadamPage;

  const SECONDS = 6; // a whole run
  const RATES = ["lr", "lrn"];
  const ALONE = new URL("../../embed/optimizers.html", document.currentScript.src).href; // this widget on its own
  const ROOM = 48; // for the credit line and margins there
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  class Widget {
    constructor(box) {
      Object.assign(this, open(box, page));
      this.plots = new root.nadamPlots.Plots(this.find, this.given);
      const restored = root.nadamState.read(location.hash, this.given);
      this.state = restored ?? { ...this.given.preset };
      this.compute();
      this.fit();
      this.listen();
      new ResizeObserver(() => this.fit()).observe(this.find(".play-plots"));
      if (restored && !this.given.alone) addEventListener("load", () => this.reveal());
      else if (this.given.autoplay) this.playWhenSeen();
    }

    get T() {
      return this.given.surfaces[this.state.surface].steps;
    }

    compute() {
      const { state, given } = this, kind = given.dialects[state.dialect];
      state.t = Math.min(state.t, this.T);
      if (!state.show.includes(state.of)) state.of = state.show.at(-1);
      const { centre } = given.surfaces[state.surface];
      this.rates = {};
      this.runs = Object.fromEntries(state.show.map((name) => {
        const rule = given.rules[name], job = { ...state, rule, kind, centre };
        job.steps = numbers(rule, kind, state, this.T);
        if (state.best && hasRate(rule)) {
          const rate = (this.rates[name] = bestRate(job));
          job.steps = job.steps.map((step) => ({ ...step, eta: rate }));
        }
        return [name, run(job)];
      }));
      this.settings();
    }

    // The controls show the state.
    settings() {
      const { state } = this;
      for (const input of this.box.querySelectorAll("[data-slide]")) {
        const stops = SLIDERS[input.dataset.slide][3], value = state[input.dataset.slide];
        const off = stops.map((stop) => Math.abs(stop - value));
        const text = state.best && RATES.includes(input.dataset.slide) ? "best" : value;
        input.value = off.indexOf(Math.min(...off));
        input.setAttribute("aria-valuetext", text);
        input.nextElementSibling.textContent = text;
      }
      this.find('[data-do="best"]')?.setAttribute("aria-pressed", state.best);
      this.find('[data-do="seed"]')?.classList.toggle("play-idle", !state.noise);
      this.find('[data-select="of"]').innerHTML = options(Object.fromEntries(state.show.map((name) => [name, name])));
      for (const select of this.box.querySelectorAll("[data-select]")) select.value = state[select.dataset.select] ?? "none";
      this.schedule(this.find('[data-select="psi"]'));
      for (const chip of this.box.querySelectorAll("[data-name]")) {
        const { name } = chip.dataset;
        chip.setAttribute("aria-pressed", state.show.includes(name));
        say(chip.querySelector("small"), name in this.rates ? `η ${show(this.rates[name], 3)}` : "");
      }
      this.find(".play-chooser").classList.toggle("play-best", state.best);
      this.find("[data-scrub]").max = this.T;
    }

    // Where the dialect has a schedule of its own, the choice is that of the other methods; without such, there is none.
    schedule(select) {
      if (!select) return;
      const { rules, dialects } = this.given, kind = dialects[this.state.dialect];
      select.disabled = !this.state.show.some((name) => follows(rules[name], kind));
      const own = this.state.show.some((name) => rules[name].nesterov && rules[name].momentum === "mean");
      say(select.closest("label").querySelector("small"), own && !kind.free_schedule ? "of the others" : "schedule");
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
        say(chip.querySelector("i"), made ? brief(made.loss[whole]) : "");
      }
      const scrub = this.find("[data-scrub]");
      scrub.value = whole;
      scrub.setAttribute("aria-valuetext", `${whole} of ${this.T}`);
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
      const moved = "surface" in patch || "turn" in patch;
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
        const rates = Object.entries(this.rates).map(([name, rate]) => `${name} ${show(rate, 3)}`);
        const best = rates.length ? ` Best η: ${rates.join(", ")}.` : "";
        this.find(".play-said").textContent = text ?? `Step ${this.state.t}. Loss: ${losses.join(", ")}.${best}`;
      }, 500);
    }

    // ---- the state as a link

    link() {
      history.replaceState(null, "", root.nadamState.write(this.state, this.given));
      this.copy("link", location.href, "In URL", "The link is copied.", "The link is in the address bar.");
    }

    // An iframe of the page that has the widget alone, as wide as there is room and as high as the widget is now.
    embed() {
      const field = this.find(".play-embed"), { given } = this, shown = field.hidden;
      field.hidden = true;
      this.find('[data-do="embed"]').setAttribute("aria-expanded", shown);
      if (!shown) return;
      const state = root.nadamState.write(this.state, { ...given, name: "alone" });
      const quoted = (text) => `"${text.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"`;
      field.value = `<iframe src=${quoted(`${ALONE}${state}&p=${given.parts}`)}
  title=${quoted(this.box.getAttribute("aria-label"))}
  width="100%" height="${this.box.offsetHeight + ROOM}" loading="lazy" style="border: 0"></iframe>`;
      field.hidden = false;
      field.select();
      this.copy("embed", field.value, "Embed", "The HTML is copied.", "The HTML is selected.");
    }

    // The button says for a moment whether it is done.
    async copy(name, text, otherwise, done, failed) {
      const button = this.find(`[data-do="${name}"]`), label = name[0].toUpperCase() + name.slice(1);
      const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
      button.textContent = copied ? "Copied" : otherwise;
      setTimeout(() => { button.textContent = label; }, 1500);
      this.say(copied ? done : failed);
    }

    restore() {
      const state = root.nadamState.read(location.hash, this.given);
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
      const kept = Object.keys(this.given.rules).filter((n) => (n === name ? !shown : this.state.show.includes(n)));
      if (kept.length) this.change({ show: kept, of: shown ? this.state.of : name });
    }

    start(point) {
      const { xlim, ylim } = this.given.surfaces[this.state.surface];
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
      if (slide) this.change({ [slide]: SLIDERS[slide][3][value], ...(RATES.includes(slide) ? { best: false } : {}) });
      else if (select === "psi") this.change({ psi: value === "none" ? null : Number(value) });
      else if (select === "surface") this.change({ surface: value, ...this.given.surfaces[value].begin });
      else if (select) this.change({ [select]: value });
      else this.go(Number(value));
    }

    listen() {
      const does = {
        play: () => (this.playing ? this.pause() : this.play()),
        back: () => this.go(Math.ceil(this.state.t) - 1),
        step: () => this.go(Math.floor(this.state.t) + 1),
        reset: () => { this.pause(); this.change(this.given.preset); },
        link: () => { this.pause(); this.link(); },
        embed: () => { this.pause(); this.embed(); },
        best: () => this.change({ best: !this.state.best }),
        seed: () => this.change({ seed: this.state.seed + 1 }),
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
