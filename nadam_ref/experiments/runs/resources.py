"""The threads, the memory and the device that a run computes with."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import torch

from ...errors import NadamRefError


class DeviceError(NadamRefError):
    """The device that a run asks for is not there. The message names the command that runs it on the CPU."""


def check_device(device: str, profile: str, task: str) -> None:
    """Raise `DeviceError` where CUDA is asked for and not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "this run asks for CUDA and torch finds no CUDA device; on the CPU the command is "
            f"`nadam-ref sweep {profile} --task {task} --device cpu`"
        )


@contextlib.contextmanager
def arithmetic(threads: int) -> Iterator[None]:
    """Torch computes with this many threads inside the block, and on a GPU with all 24 bits of a float32.

    By default cuDNN rounds what a convolution multiplies to the 11 bits of TF32. Its kernels are tried, and the fastest
    is taken: what it would choose by itself is slow where replicas are groups of a convolution.
    """
    cudnn, before = torch.backends.cudnn, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with cudnn.flags(cudnn.enabled, benchmark=True, deterministic=cudnn.deterministic, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 256 MB of the memory that it frees; nothing where the C library has no mallopt.

    glibc hands large blocks back at once, and so eagerly under the settings that Dask gives its workers that a step
    spends as long on page faults as on arithmetic.
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)  # the most it takes
        mallopt(trim_threshold, 256 << 20)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU, where torch has no class for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
