"""Core tests run on one thread: two beside other work slow torch many times over."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
