// Drawing: contours, paths, losses and arrows as SVG. Everything here takes numbers and gives path data or elements.
"use strict";

(function (root) {
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes, parent) {
    const element = document.createElementNS(SVG, tag);
    set(element, attributes);
    parent?.append(element);
    return element;
  }

  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  }

  // A linear scale, with its way back.
  function scale([a, b], [from, to]) {
    const there = (x) => from + ((x - a) / (b - a)) * (to - from);
    there.back = (y) => a + ((y - from) / (to - from)) * (b - a);
    return there;
  }

  // Marching squares. Corners: 1 lower left, 2 lower right, 4 upper right, 8 upper left; sides: 0 lower, 1 right,
  // 2 upper, 3 left. Each pair leads from side to side with the lower ground on its left.
  const SIDES = [
    [], [[0, 3]], [[1, 0]], [[1, 3]], [[2, 1]], [[0, 3], [2, 1]], [[2, 0]], [[2, 3]],
    [[3, 2]], [[0, 2]], [[1, 0], [3, 2]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
  ];

  // The regions {f < level}, clipped to the window, each as loops of points in data coordinates.
  function regions(f, xlim, ylim, levels, nx = 112, ny = 84) {
    const x = scale([1, nx], xlim), y = scale([1, ny], ylim), W = nx + 2;
    const height = new Float64Array(W * (ny + 2)).fill(Infinity);
    for (let j = 1; j <= ny; j++) for (let i = 1; i <= nx; i++) height[j * W + i] = Math.log(f(x(i), y(j)) + 1e-12);
    return levels.map((level) => loops(height, W, ny + 2, Math.log(level), x, y));
  }

  function loops(height, W, H, level, x, y) {
    const next = new Map(), at = new Map();
    const corner = (i, j) => (height[j * W + i] < level ? 1 : 0);
    const ends = (side, i, j) => [
      [[i, j], [i + 1, j]], [[i + 1, j], [i + 1, j + 1]], [[i, j + 1], [i + 1, j + 1]], [[i, j], [i, j + 1]],
    ][side];
    const name = (side, i, j) => {
      const [[a, b], [c]] = ends(side, i, j), key = 2 * (b * W + a) + (c === a ? 1 : 0);
      if (!at.has(key)) at.set(key, crossing(...ends(side, i, j)));
      return key;
    };
    const crossing = ([a, b], [c, d]) => {
      const low = height[b * W + a], high = height[d * W + c];
      const share = low === Infinity ? 1 : high === Infinity ? 0 : (level - low) / (high - low);
      return [x(a + share * (c - a)), y(b + share * (d - b))];
    };
    for (let j = 0; j < H - 1; j++) {
      for (let i = 0; i < W - 1; i++) {
        const kind = corner(i, j) + 2 * corner(i + 1, j) + 4 * corner(i + 1, j + 1) + 8 * corner(i, j + 1);
        for (const [from, to] of SIDES[kind]) next.set(name(from, i, j), name(to, i, j));
      }
    }
    const found = [];
    for (const [first] of next) {
      const loop = [];
      for (let key = first; next.has(key); ) {
        loop.push(at.get(key));
        const following = next.get(key);
        next.delete(key);
        key = following;
      }
      if (loop.length) found.push(loop);
    }
    return found;
  }

  const place = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const closed = (found, x, y) => found.map((loop) => `M${loop.map(([a, b]) => place(x(a), y(b))).join("L")}Z`).join("");

  const SHAPES = {
    o: (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
    s: (r) => `m${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
    D: (r) => `m0 ${-r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`,
    "^": (r) => `m0 ${-1.2 * r}l${1.15 * r} ${2 * r}h${-2.3 * r}z`,
    v: (r) => `m0 ${1.2 * r}l${1.15 * r} ${-2 * r}h${-2.3 * r}z`,
  };

  const HALF = { o: 3.4, s: 3.1, D: 4.2, "^": 3.4, v: 3.4 }; // half the width of a shape
  const dashes = (look) => look.dash.map((d) => 2 * d).join(" ") || "none"; // lines are 2 px wide

  const mark = (shape, r, x, y) => `M${place(x, y)}${SHAPES[shape](r)}`;

  // The part of the segment from p to q inside the box [0, width] × [0, height], as two shares of its length, or null.
  function within([x, y], [u, v], [width, height]) {
    let from = 0, to = 1;
    for (const [start, by, most] of [[x, u - x, width], [y, v - y, height]]) {
      const ends = by === 0 ? (start < 0 || start > most ? [1, 0] : [0, 1]) : [-start / by, (most - start) / by];
      from = Math.max(from, Math.min(...ends));
      to = Math.min(to, Math.max(...ends));
    }
    return from < to ? [from, to] : null;
  }

  const along = ([x, y], [u, v], share) => [x + share * (u - x), y + share * (v - y)];

  // A line through points of the screen that is drawn up to any moment: to where it first goes so far out that nothing
  // of it can be seen again. What was written of it before is kept, because it is drawn sixty times a second.
  class Trace {
    constructor(X, Y, far, shape, every) {
      this.points = [];
      this.lines = [];
      this.marks = [];
      let line = "", marks = "", inside = true;
      for (let k = 0; k < X.length && inside; k++) {
        inside = Math.abs(X[k]) < far && Math.abs(Y[k]) < far;
        if (!inside && !(k > 0 && Number.isFinite(X[k]) && Number.isFinite(Y[k]))) break;
        // the last point, if it is too far out for a drawing, is where the line gets so far
        const out = Math.max(Math.abs(X[k]), Math.abs(Y[k]));
        const point = inside ? [X[k], Y[k]] : along(this.points[k - 1], [X[k], Y[k]], Math.min(1, far / out));
        this.points.push(point);
        this.lines.push((line += `${k ? "L" : "M"}${place(...point)}`));
        this.marks.push((marks += k % every || !inside ? "" : mark(shape, 0.62 * HALF[shape], ...point)));
      }
      this.shape = shape;
      this.last = this.points.length - 1;
    }

    // The line, the small marks and the large one at its head, up to the moment t, which may lie between two steps.
    upTo(t) {
      if (this.last < 0) return ["", "", ""];
      const k = Math.min(Math.floor(t), this.last), rest = Math.min(t - k, 1);
      const [a, b] = this.points[k], [c, d] = this.points[Math.min(k + 1, this.last)];
      const tip = [a + rest * (c - a), b + rest * (d - b)];
      const head = t < this.last + 1 ? mark(this.shape, 1.5 * HALF[this.shape], ...tip) : "";
      return [`${this.lines[k]}L${place(...tip)}`, this.marks[k], head];
    }

    get whole() {
      return this.lines.at(-1) ?? "";
    }

    // Where the line leaves a box for good, as the last stretch of it inside; null if it ends inside.
    exit(box) {
      const { points } = this;
      let found = null;
      for (let k = 1; k < points.length; k++) {
        const shares = within(points[k - 1], points[k], box);
        if (!shares) continue;
        const [from, to] = shares.map((share) => along(points[k - 1], points[k], share));
        found = shares[1] < 1 ? [from, to] : null;
      }
      return found;
    }
  }

  // An arrow as path data: a stroke, and a head that can be filled.
  function arrow([x, y], [u, v], size = 7) {
    const long = Math.hypot(u - x, v - y);
    if (!(long > 0.5)) return "";
    const s = Math.min(size, long * 0.6), cos = (u - x) / long, sin = (v - y) / long;
    const wing = (side) => place(u - s * (cos + side * 0.5 * sin), v - s * (sin - side * 0.5 * cos));
    return `M${place(x, y)}L${place(u, v)}M${wing(1)}L${place(u, v)}L${wing(-1)}Z`;
  }

  // A text that has not changed is not laid out again.
  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  root.nadamDraw = { make, set, say, scale, place, regions, closed, HALF, dashes, mark, Trace, arrow };
})(globalThis);
