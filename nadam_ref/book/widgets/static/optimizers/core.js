// The ten optimizers and two methods more: no page, no drawing. Given the numbers of each step, equal to nadam_ref/paper.py to the last bit,
// as long as nothing is turned and nothing noisy.
"use strict";

(function (root) {
  // As nadam_ref/book/widgets/surfaces.py, operation by operation.
  const surfaces = {
    ravine: {
      f: (x, y) => 0.5 * (x * x + 20 * (y * y)),
      gradient: (x, y) => [x, 20 * y],
      hessian: () => [1, 0, 20],
    },
    rosenbrock: {
      f(x, y) {
        const u = y - x * x;
        return (1 - x) * (1 - x) + 100 * (u * u);
      },
      gradient(x, y) {
        const u = y - x * x;
        return [-2 * (1 - x) - 400 * x * u, 200 * u];
      },
      hessian: (x, y) => [2 - 400 * (y - x * x) + 800 * x * x, -400 * x, 200],
    },
    beale: {
      f(x, y) {
        const p = 1.5 - x + x * y, q = 2.25 - x + x * y * y, r = 2.625 - x + x * y * y * y;
        return p * p + q * q + r * r;
      },
      gradient(x, y) {
        const p = 1.5 - x + x * y, q = 2.25 - x + x * y * y, r = 2.625 - x + x * y * y * y;
        return [
          2 * p * (y - 1) + 2 * q * (y * y - 1) + 2 * r * (y * y * y - 1),
          2 * p * x + 4 * q * x * y + 6 * r * x * y * y,
        ];
      },
      hessian(x, y) {
        const q = 2.25 - x + x * y * y, r = 2.625 - x + x * y * y * y;
        const u = y - 1, v = y * y - 1, w = y * y * y - 1; // p, q and r by x
        return [
          2 * (u * u + v * v + w * w),
          2 * (u * x + 1.5 - x + x * y + 2 * v * x * y + 2 * q * y + 3 * w * x * y * y + 3 * r * y * y),
          2 * x * (x + 4 * x * y * y + 2 * q + 9 * x * y * y * y * y + 6 * r * y),
        ];
      },
    },
    saddle: {
      f(x, y) {
        const v = y * y - 1;
        return 0.5 * (x * x) + 0.25 * (v * v);
      },
      gradient: (x, y) => [x, (y * y - 1) * y],
      hessian: (x, y) => [1, 0, 3 * y * y - 1],
    },
  };

  // A surface turned by some degrees about its centre, as Surface.turned in surfaces.py; `there` takes a point along.
  function turned(surface, degrees, [a, b]) {
    const { f, gradient, hessian } = surfaces[surface];
    if (degrees === 0) return { f, gradient, hessian, there: (x, y) => [x, y] };
    const angle = (degrees * Math.PI) / 180, c = Math.cos(angle), s = Math.sin(angle);
    const back = (x, y) => [a + ((x - a) * c + (y - b) * s), b + ((y - b) * c - (x - a) * s)];
    return {
      f: (x, y) => f(...back(x, y)),
      gradient(x, y) {
        const [u, v] = gradient(...back(x, y));
        return [u * c - v * s, u * s + v * c];
      },
      hessian(x, y) {
        const [u, v, w] = hessian(...back(x, y));
        return [
          u * c * c - 2 * v * c * s + w * s * s,
          (u - w) * c * s + v * (c * c - s * s),
          u * s * s + 2 * v * c * s + w * c * c,
        ];
      },
      there: (x, y) => [a + ((x - a) * c - (y - b) * s), b + ((y - b) * c + (x - a) * s)],
    };
  }

  // Two standard normal numbers for a step, as noise.py.
  function normals(seed, t) {
    const scramble = (x) => {
      x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
      x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
      return (x ^ (x >>> 16)) >>> 0;
    };
    const [first, second] = [0, 1].map((k) => (scramble(scramble(seed) + 2 * t + k) + 0.5) / 2 ** 32);
    const radius = Math.sqrt(-2 * Math.log(first));
    return [radius * Math.cos(2 * Math.PI * second), radius * Math.sin(2 * Math.PI * second)];
  }

  // Whether the rule has momentum that follows the chosen schedule: the dialect of Nadam and NadaMax may fix its own.
  function follows(rule, kind) {
    const dialects = rule.nesterov && rule.momentum === "mean";
    return rule.momentum !== "none" && (kind.free_schedule || !dialects);
  }

  // How fast μ_t rises. null: μ_t = μ.
  function speed(rule, kind, psi) {
    return rule.momentum === "none" || follows(rule, kind) ? psi : kind.momentum_decay;
  }

  // What the paper's box of a rule computes before it touches a vector, for the steps t = 1 … T:
  // mu decays m, now and next are μ_t and μ_{t+1}, rest and ahead what m and g are divided by, spread what n is.
  // Products run along, because powers differ from Python's in the last digit.
  function numbers(rule, kind, hyper, T) {
    const psi = speed(rule, kind, hyper.psi);
    const schedule = (t) => (psi === null ? hyper.mu : hyper.mu * (1 - 0.5 * Math.pow(0.96, t * psi)));
    const mean = rule.momentum === "mean", dialects = mean && rule.nesterov;
    const found = [];
    let product = 1, power = 1;
    for (let t = 1; t <= T; t++) {
      const now = schedule(t), next = schedule(t + 1);
      product *= now;
      power *= hyper.nu;
      found.push({
        mu: dialects && !kind.scheduled_recursion ? hyper.mu : now,
        now,
        next,
        rest: mean ? 1 - product : 1,
        ahead: mean ? 1 - product * next : 1,
        nu: hyper.nu,
        spread: rule.norm === "rms" ? 1 - power : 1,
        eta: rule.norm === "none" ? hyper.lr : hyper.lrn,
      });
    }
    return found;
  }

  // The step's numerator from m and g, as [part of m, part of g, what both are divided by], spelled as in the boxes.
  function numerator(rule, dialect, kind, s, m, g) {
    if (rule.momentum === "none") return [0, g, 1];
    if (!rule.nesterov) return [m / s.rest, 0, 1];
    if (rule.momentum === "sum") return [s.next * m, g, 1];
    if (kind.interpolation !== null) return [(1 - kind.interpolation) * (m / s.rest), kind.interpolation * g, 1];
    if (!kind.corrects_ahead) return [s.next * m, (1 - s.now) * g, s.rest];
    if (dialect === "cs229") return [s.next * (m / s.ahead), (1 - s.now) * (g / s.rest), 1];
    return [(s.next * m) / s.ahead, ((1 - s.now) * g) / s.rest, 1];
  }

  function accumulate(norm, s, n, g) {
    if (norm === "sum") return n + g * g;
    if (norm === "rms") return s.nu * n + (1 - s.nu) * (g * g);
    return norm === "max" ? Math.max(s.nu * n, Math.abs(g)) : 0;
  }

  function denominator(norm, s, n, eps) {
    if (norm === "none") return 1;
    return (norm === "max" ? n : Math.sqrt(n / s.spread)) + eps;
  }

  // Methods that divide by a whole matrix, as matrices.py: what each step takes off θ.
  const whole = {
    newton: ({ hessian }) => ([p, q], at) => {
      const [a, b, c] = hessian(...at), det = a * c - b * b;
      return [(c * p - b * q) / det, (a * q - b * p) / det];
    },
    adagrad() {
      let a = 0, b = 0, c = 0, det = 0;
      return ([p, q], _, { eta }, eps) => {
        const adjoint = [c * p - b * q, a * q - b * p];
        det += Math.max(p * adjoint[0] + q * adjoint[1], 0);
        a += p * p;
        b += p * q;
        c += q * q;
        const s = Math.sqrt(det), tau = Math.sqrt(a + c + 2 * s);
        const under = (tau || 1) * (s + eps * tau + eps * eps);
        return [p, q].map((g, i) => eta * ((adjoint[i] + (s + eps * tau) * g) / under));
      };
    },
  };
  const hasRate = (rule) => rule.matrix !== "newton";

  // T steps from `start`. θ, g, m and the denominator of every step lie flat: step t, component i at 2t + i.
  function run({ rule, dialect, kind, surface, turn, centre, noise, seed, start, steps, eps = 1e-8 }) {
    const T = steps.length, ground = turned(surface, turn, centre), { f, gradient } = ground;
    const made = { rule, kind, steps, T, loss: new Float64Array(T + 1) };
    for (const name of ["theta", "g", "m", "under"]) made[name] = new Float64Array(2 * (T + 1));
    const n = [0, 0], kept = { none: () => 0, sum: () => 1, mean: (s) => 1 - s.mu }[rule.momentum];
    const taken = rule.matrix && whole[rule.matrix](ground);
    made.theta.set(start);
    made.loss[0] = f(...start);
    for (let t = 1; t <= T; t++) {
      const s = steps[t - 1], at = 2 * t;
      const before = [made.theta[at - 2], made.theta[at - 1]], grad = gradient(...before);
      if (noise) normals(seed, t).forEach((z, i) => { grad[i] += noise * z; });
      if (taken) {
        const off = taken(grad, before, s, eps);
        made.theta.set(before.map((x, i) => x - off[i]), at);
      } else for (let i = 0; i < 2; i++) {
        const g = grad[i];
        const m = s.mu * made.m[at - 2 + i] + kept(s) * g;
        n[i] = accumulate(rule.norm, s, n[i], g);
        const under = denominator(rule.norm, s, n[i], eps);
        const [carried, fresh, over] = numerator(rule, dialect, kind, s, m, g);
        made.theta[at + i] = made.theta[at - 2 + i] - (s.eta * ((carried + fresh) / over)) / under;
        made.g[at + i] = g;
        made.m[at + i] = m;
        made.under[at + i] = under;
      }
      made.loss[t] = f(made.theta[at], made.theta[at + 1]);
    }
    return made;
  }

  // The rate with which a rule ends lowest, as best_rates in presets.py. `job` is what `run` takes.
  const FINE = 40, COARSE = 5, SEEDS = 5, ARRIVED = 1e-24;

  function bestRate(job) {
    const rateAt = (place) => Number((10 ** (place / FINE)).toPrecision(3));
    const last = Math.floor(job.steps.length / 10), seeds = job.noise ? SEEDS : 1;
    const score = (rate) => {
      const steps = job.steps.map((step) => ({ ...step, eta: rate }));
      let sum = 0;
      for (let k = 0; k < seeds; k++) sum += Math.max(...run({ ...job, steps, seed: job.seed + k }).loss.slice(-last));
      return Number.isNaN(sum) ? Infinity : Math.max(sum / seeds, ARRIVED);
    };
    const lowest = (from, to, by) => {
      let found = from, least = Infinity;
      for (let place = from; place <= to; place += by) {
        const reached = score(rateAt(place));
        if (reached < least) [found, least] = [place, reached];
      }
      return found;
    };
    const near = lowest(-4 * FINE, FINE / 2, COARSE);
    return rateAt(lowest(near - COARSE + 1, near + COARSE - 1, 1));
  }

  // The six numbers of step t: μ and ν of the recursions, and a, c, d, η of θ ← θ − η (a m + c g) / (d root(n) + ε).
  function scalars({ rule, kind, steps }, t) {
    const s = steps[t - 1];
    const six = { mu: s.mu, nu: s.nu, a: 1 / s.rest, c: 0, d: 1 / Math.sqrt(s.spread), eta: s.eta };
    if (rule.momentum === "none") return { ...six, a: 0, c: 1 };
    if (!rule.nesterov) return six;
    if (rule.momentum === "sum") return { ...six, a: s.next, c: 1 };
    if (kind.interpolation !== null) return { ...six, a: (1 - kind.interpolation) / s.rest, c: kind.interpolation };
    return { ...six, a: s.next / (kind.corrects_ahead ? s.ahead : s.rest), c: (1 - s.now) / s.rest };
  }

  // Step t as two arrows that lead from θ_{t−1} to θ_t. With Nesterov's momentum they are a m, the momentum of the step
  // to come, and c g; with classical momentum a μ m, the momentum of the steps before, and a q g.
  function anatomy(made, t) {
    const { rule, theta, g, m, under } = made, at = 2 * t, six = scalars(made, t);
    const scale = (i) => -six.eta / under[at + i];
    const q = rule.momentum === "mean" ? 1 - six.mu : 1;
    const ofM = (i) => (rule.nesterov ? six.a * m[at + i] : six.a * six.mu * m[at - 2 + i]);
    const ofG = (i) => (rule.nesterov || rule.momentum === "none" ? six.c : six.a * q) * g[at + i];
    return {
      from: [theta[at - 2], theta[at - 1]],
      to: [theta[at], theta[at + 1]],
      momentum: rule.momentum === "none" ? [0, 0] : [scale(0) * ofM(0), scale(1) * ofM(1)],
      gradient: [scale(0) * ofG(0), scale(1) * ofG(1)],
      whole: [theta[at] - theta[at - 2], theta[at + 1] - theta[at - 1]],
    };
  }

  root.nadamCore = { turned, normals, follows, numbers, hasRate, run, bestRate, scalars, anatomy };
})(globalThis);
