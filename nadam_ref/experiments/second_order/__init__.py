"""Methods that use curvature, and their comparison with the ten optimizers: what chapter 31 is made of."""
