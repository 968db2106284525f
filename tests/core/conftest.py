"""Core tests run on one thread: two beside other work slow torch many times over."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
