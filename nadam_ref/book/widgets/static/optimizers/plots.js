// What the reader sees of the runs: the plane with its paths, the losses, and one step taken apart.
"use strict";

(function (root) {
  const { scalars, anatomy, turned } = root.nadamCore;
  const { make, set, say, scale, place, regions, closed, Trace, arrow, dashes } = root.nadamDraw;
  const { NUMBERS, show, brief, formula, superscript } = root.nadamPage;

  const LEFT = 42, RIGHT = 10, BELOW = 24; // margins of the losses
  const FAR = 50; // heights of the losses: all decades of a number
  const SNAP = 6;
  const BANDS = 9, MARKS = { path: 24, loss: 8 };

  const write = (parent, x, y, said, anchor = "start") => {
    make("text", { x, y, "text-anchor": anchor }, parent).textContent = said;
  };

  class Plots {
    constructor(find, given) {
      Object.assign(this, { find, given, lines: {} });
    }

    // Everything is drawn in CSS pixels, so that letters and lines keep their size.
    fit() {
      for (const name of ["plane", "loss", "lens"]) {
        const svg = this.find(`.play-${name}`), width = svg.clientWidth, height = svg.clientHeight;
        set(svg, { viewBox: `0 0 ${width} ${height}` });
        this[name] = { svg, width, height };
      }
      return this.plane.width > 0;
    }

    // Contours, ticks, and the handle of the start.
    ground({ surface, turn }) {
      const { svg, width, height } = this.plane, { xlim, ylim, levels, minima, centre, formula: written } = this.given.surfaces[surface];
      const { f, there } = turned(surface, turn, centre);
      this.x = scale(xlim, [0, width]);
      this.y = scale(ylim, [height, 0]);
      if (this.mapped !== surface + turn) {
        const heights = Array.from({ length: BANDS }, (_, k) => levels[0] * (levels[1] / levels[0]) ** (k / (BANDS - 1)));
        this.map = regions(f, xlim, ylim, heights);
        this.mapped = surface + turn;
      }
      const focused = document.activeElement === this.handle && this.handle;
      svg.replaceChildren();
      const more = turn ? `turned by ${turn}°` : "";
      set(svg, { "aria-label": `Paths over the contours of ${[written, more].filter(Boolean).join(", ")}` });
      const land = make("g", { class: "play-land", "aria-hidden": "true" }, svg);
      for (const region of this.map) make("path", { d: closed(region, this.x, this.y), "fill-rule": "evenodd" }, land);
      this.goals = minima.map((minimum) => there(...minimum));
      for (const [a, b] of this.goals) {
        make("path", { class: "play-goal", d: `M${this.x(a) - 5} ${this.y(b)}h10m-5 -5v10` }, land);
      }
      const ticks = make("g", { "aria-hidden": "true" }, svg);
      for (let a = Math.ceil(xlim[0]); a < xlim[1]; a++) {
        if (this.x(a) > 24 && this.x(a) < width - 34) write(ticks, this.x(a), height - 6, show(a), "middle");
      }
      for (let b = Math.ceil(ylim[0]); b < ylim[1]; b++) {
        if (this.y(b) > 30 && this.y(b) < height - 24) write(ticks, 6, this.y(b) + 4, show(b));
      }
      write(ticks, width - 6, height - 6, "θ₁", "end");
      write(ticks, 6, 16, "θ₂");
      write(ticks, width - 6, 16, written, "end");
      write(ticks, width - 6, 32, more, "end");
      this.track = make("g", { "aria-hidden": "true" }, svg);
      this.arrows = make("g", { "aria-hidden": "true" }, svg);
      const said = { tabindex: 0, role: "button", "aria-roledescription": "point to drag" };
      this.handle = make("g", { class: "play-handle", ...said }, svg);
      for (const [r, part] of [[22, "grip"], [9, "ring"], [3, "dot"]]) make("circle", { r, class: `play-${part}` }, this.handle);
      if (focused) this.handle.focus();
    }

    // Every path and every loss, whole and faint.
    paths(state, runs) {
      this.axes(runs);
      this.track.replaceChildren();
      this.lines = {};
      let lost = 0;
      for (const [name, made] of Object.entries(runs)) {
        const look = this.given.rules[name];
        const on = (i, to) => Array.from({ length: made.T + 1 }, (_, t) => to(made.theta[2 * t + i]));
        const every = (marks) => Math.max(1, Math.round(made.T / marks)), steps = Array.from(made.loss, (_, t) => this.lx(t));
        const path = new Trace(on(0, this.x), on(1, this.y), 5 * this.plane.width, look.marker, every(MARKS.path));
        const loss = new Trace(steps, Array.from(made.loss, this.ly), FAR * this.loss.height, look.marker, every(MARKS.loss));
        this.lines[name] = [this.curve(this.track, look, path), this.curve(this.losses, look, loss)];
        this.leave(this.track, look, path, this.plane);
        const gone = this.leave(this.losses, look, loss, this.loss);
        if (gone) write(this.losses, this.loss.width - RIGHT, 42 + 15 * lost++, `${name} → ${brief(made.loss[made.T])}`, "end");
      }
      const [a, b] = state.start;
      set(this.handle, {
        transform: `translate(${place(this.x(a), this.y(b))})`,
        "aria-label": `Start, ${show(a)}, ${show(b)}. Arrow keys move it; with Shift, less.`,
      });
    }

    // A line that leaves the picture for good ends in an arrow at its edge.
    leave(parent, look, trace, { width, height }) {
      const last = trace.exit([width, height]);
      if (!last) return false;
      const [[x, y], [u, v]] = last, share = 26 / Math.hypot(u - x, v - y);
      const d = arrow([u - share * (u - x), v - share * (v - y)], [u, v], 13);
      make("path", { class: "play-out", d, style: `--look: ${look.colour}` }, parent);
      return true;
    }

    curve(parent, look, trace) {
      const group = make("g", { style: `--look: ${look.colour}` }, parent);
      const [ghost, ...drawn] = ["line play-ghost", "line", "mark", "mark play-head"].map((kind) => {
        const dashed = kind.startsWith("line") ? { "stroke-dasharray": dashes(look) } : {};
        return make("path", { class: `play-${kind}`, ...dashed }, group);
      });
      set(ghost, { d: trace.whole });
      return { trace, drawn };
    }

    axes(runs) {
      const { svg, width, height } = this.loss, [{ T, loss: [start] }] = Object.values(runs);
      // a start at a minimum leaves it where there is noise
      const highest = Math.max(...Object.values(runs).flatMap(({ loss }) => [...loss].filter(Number.isFinite)));
      const first = Math.max(start < 1e-2 ? Math.min(highest, 100) : start, 1e-6), top = Math.ceil(Math.log10(first) + 0.3);
      let least = first;
      for (const { loss } of Object.values(runs)) for (const x of loss) if (x > 0 && x < least) least = x;
      const bottom = Math.max(Math.min(Math.floor(Math.log10(least)), top - 2), top - 20);
      const down = scale([bottom, top], [height - BELOW, 10]);
      this.lx = scale([0, T], [LEFT, width - RIGHT]);
      this.ly = (value) => Math.min(down(Math.log10(value)), height - BELOW);
      svg.replaceChildren();
      const axes = make("g", {}, svg);
      for (let k = top; k >= bottom; k -= Math.ceil((top - bottom) / 6)) {
        make("path", { class: "play-grid", d: `M${LEFT} ${down(k).toFixed(1)}H${width - RIGHT}` }, axes);
        write(axes, LEFT - 5, down(k) + 4, `10${superscript(k)}`, "end");
      }
      for (const t of [0, T / 2]) write(axes, this.lx(t), height - 6, t, "middle");
      write(axes, width - RIGHT, height - 6, `step ${T}`, "end");
      write(axes, width - RIGHT, 24, "f(θ)", "end");
      this.losses = make("g", {}, svg);
      this.cursor = make("path", { class: "play-cursor" }, svg);
    }

    // What depends on the moment t, which lies between two steps only while it plays.
    moment({ t }) {
      for (const { trace, drawn } of Object.values(this.lines).flat()) {
        const found = trace.upTo(t);
        drawn.forEach((path, k) => set(path, { d: found[k] }));
      }
      set(this.cursor, { d: `M${this.lx(t).toFixed(1)} 6V${this.loss.height - BELOW}` });
    }

    // One step taken apart, in numbers, and as arrows: at their true length among the paths, and enlarged beside.
    dissect({ of }, made, t) {
      if (this.given.step === "none") return;
      const plain = this.given.step === "arrows";
      const { rule } = made, put = (kind, key, text) => say(this.find(`[data-${kind}="${key}"]`), text);
      say(this.find(".play-formula"), formula(rule, plain));
      for (const group of [this.arrows, this.lens.svg]) {
        group.replaceChildren();
        set(group, { style: `--look: ${this.given.rules[of].colour}` });
      }
      const six = t > 0 ? scalars(made, t) : {};
      const read = { mu: rule.momentum !== "none", nu: rule.norm === "rms" || rule.norm === "max" };
      for (const key of Object.keys(NUMBERS)) put("number", key, t > 0 && (read[key] ?? true) ? show(six[key]) : "–");
      const fresh = rule.momentum === "mean" ? "a (1−μ) g" : "a g";
      const whole = rule.norm === "none" && rule.momentum !== "mean"; // else an arrow has more factors than these
      const names = plain ? {
        momentum: rule.momentum === "none" ? "no momentum"
          : `momentum${rule.nesterov ? " of the next step" : ""}${whole ? ", −η μ m" : ""}`,
        gradient: `gradient${whole ? ", −η g" : ""}`,
        whole: "step",
      } : {
        momentum: rule.nesterov ? "look-ahead, a m" : rule.momentum === "none" ? "no momentum" : "momentum, a μ m",
        gradient: `gradient, ${rule.nesterov || rule.momentum === "none" ? "c g" : fresh}`,
        whole: "step",
      };
      const parts = t > 0 ? anatomy(made, t) : null;
      for (const [key, text] of Object.entries(names)) {
        const vector = parts && (key !== "momentum" || read.mu) ? `: ${parts[key].map((x) => show(x, 2)).join(", ")}` : "";
        put("arrow", key, text + vector);
      }
      if (parts) this.enlarge(parts, t);
    }

    enlarge({ from, to, momentum }, t) {
      const put = (parent, [p, q, r], size) => {
        for (const [kind, a, b] of [["whole", p, r], ["momentum", p, q], ["gradient", q, r]]) {
          make("path", { class: `play-arrow play-${kind}`, d: arrow(a, b, size) }, parent);
        }
      };
      const ends = [from, from.map((x, i) => x + momentum[i]), to].map(([a, b]) => [this.x(a), this.y(b)]);
      const { svg, width, height } = this.lens;
      if (!ends.flat().every((x) => Math.abs(x) < 1e5)) {
        write(svg, width / 2, height / 2, "it has left the picture", "middle");
        return;
      }
      put(this.arrows, ends, 6);
      const low = [0, 1].map((i) => Math.min(...ends.map((p) => p[i])));
      const size = [0, 1].map((i) => Math.max(...ends.map((p) => p[i])) - low[i]);
      const zoom = Math.min((width - 28) / size[0], (height - 44) / size[1]);
      if (!(zoom < 1e12)) return;
      const shift = [(width - zoom * size[0]) / 2, (height - 16 - zoom * size[1]) / 2];
      put(svg, ends.map((p) => p.map((x, i) => shift[i] + zoom * (x - low[i]))), 9);
      write(svg, width / 2, height - 6, `step ${t}, × ${show(zoom, 2)}`, "middle");
    }

    // The step at a place on the losses, and the point at a place on the plane, of a pointer.
    stepAt(event) {
      return this.lx.back(event.clientX - this.loss.svg.getBoundingClientRect().left);
    }

    // It snaps to the height and to the place across of a minimum.
    pointAt(event) {
      const { left, top } = this.plane.svg.getBoundingClientRect();
      const near = (at, to, k) => this.goals.map((goal) => goal[k]).find((goal) => Math.abs(to(goal) - at) < SNAP) ?? to.back(at);
      return [near(event.clientX - left, this.x, 0), near(event.clientY - top, this.y, 1)];
    }
  }

  root.nadamPlots = { Plots };
})(globalThis);
