"""Data sets: which there are, how they come here, and how they are read."""

from .images import MNIST, ImageData, load
from .registry import DataError, first_available

__all__ = ["MNIST", "DataError", "ImageData", "first_available", "load"]
