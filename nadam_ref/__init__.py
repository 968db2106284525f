"""The optimizers of Dozat's "Incorporating Nesterov Momentum into Adam" (2015, 2016), exact and at home in PyTorch."""

from .optimizer import PaperOptimizer
from .optimizers import GD, NAG, AdaGrad, Adam, AdaMax, MaxProp, Momentum, Nadam, NadaMax, RMSProp
from .packing import flatten_
from .rules import DIALECTS, RULES, Dialect, Rule, Scalars, scalars, schedule

__version__ = "0.1.0"

#: The ten optimizers by class name, in the book's order.
OPTIMIZERS: dict[str, type[PaperOptimizer]] = {
    c.__name__: c for c in (GD, Momentum, NAG, AdaGrad, RMSProp, MaxProp, Adam, AdaMax, Nadam, NadaMax)
}

__all__ = [
    "DIALECTS",
    "GD",
    "NAG",
    "OPTIMIZERS",
    "RULES",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "Dialect",
    "MaxProp",
    "Momentum",
    "NadaMax",
    "Nadam",
    "PaperOptimizer",
    "RMSProp",
    "Rule",
    "Scalars",
    "flatten_",
    "scalars",
    "schedule",
]
