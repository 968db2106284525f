// Momentum and NAG on ½λθ², with x = ηλ: nadam_ref/book/cells/quadratic.py, operation by operation.
"use strict";

(function (root) {
  // The μ with which classical momentum follows the path of each.
  const damping = { Momentum: (_x, mu) => mu, NAG: (x, mu) => mu * (1 - x) };

  // The sum of the two roots.
  const sum = (name, x, mu) => 1 + damping[name](x, mu) - x;

  function discriminant(name, x, mu) {
    const b = sum(name, x, mu);
    return b * b - 4 * damping[name](x, mu);
  }

  // What a step leaves of the distance in the long run: the larger root, in absolute value.
  function factor(name, x, mu) {
    const damped = damping[name](x, mu), d = discriminant(name, x, mu);
    return d < 0 ? Math.sqrt(damped) : (Math.abs(sum(name, x, mu)) + Math.sqrt(d)) / 2;
  }

  // The best settings on curvatures from 1 to kappa.
  function best(name, kappa) {
    if (name === "Momentum") {
      const r = Math.sqrt(kappa), shrunk = (r - 1) / (r + 1), rate = 2 / (r + 1);
      return { lr: rate * rate, mu: shrunk * shrunk };
    }
    const r = Math.sqrt(3 * kappa + 1);
    return { lr: 4 / (3 * kappa + 1), mu: (r - 2) / (r + 2) };
  }

  // θ_0 = 1, θ_1, …, θ_T.
  function course(name, x, mu, T) {
    const damped = damping[name](x, mu), path = [1, 1 - x];
    while (path.length <= T) path.push((1 + damped - x) * path.at(-1) - damped * path.at(-2));
    return path;
  }

  root.nadamQuadratic = { sum, discriminant, factor, best, course };
})(globalThis);
