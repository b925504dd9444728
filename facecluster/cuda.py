"""Products on an NVIDIA GPU by CuPy; everything else on threads."""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from facecluster.clustering.tiles import THREADS, Found, ThreadRunner, Work
from facecluster.errors import ConfigError

# A block of 268 MB: its 69 GFLOP are to outweigh what it takes to fetch it.
BLOCK_ROWS = 8192

# Twice what IEEE float32 can be off by in 512 terms; TF32 and half products of the row below are off by 2e-4.
_MOST_OFF = 2.0**-14


class CudaRunner:
    """Runs tiles on threads, and their products on the GPU.

    Parameters
    ----------
    threads : ThreadRunner
        What everything but the products runs on.
    """

    block_rows = BLOCK_ROWS

    def __init__(self, threads: ThreadRunner = THREADS) -> None:
        self._threads = threads

    @property
    def workers(self) -> int:
        """As of the threads."""
        return self._threads.workers

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, fill: float) -> NDArray[Any]:
        """An array in memory; see `TileRunner.array`."""
        return self._threads.array(name, shape, dtype, fill)

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """Does the work on threads; see `TileRunner.carry_out`."""
        return self._threads.carry_out(work)

    def product(self, a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """One product by cuBLAS; see `TileRunner.product`."""
        cupy = checked_cupy()
        out[:] = cupy.asnumpy(cupy.asarray(a) @ cupy.asarray(b).T)


@cache
def checked_cupy() -> Any:
    """CuPy, once it has shown on this GPU that its products are as fine as float32 can be.

    Raises
    ------
    ConfigError
        If CuPy or a GPU is missing, or the products are coarser.
    """
    cure = "Nothing was computed. Mend that, or set FACECLUSTER_DEVICE to cpu."
    try:
        os.environ["CUPY_TF32"] = "0"  # read at the first product; a coarser one than IEEE float32 is not allowed
        import cupy

        row = cupy.full((256, 512), np.float32(512**-0.5))
        off = abs(float((row @ row.T)[0, 0]) - 1.0)
    except ModuleNotFoundError as exc:
        raise ConfigError(f"FACECLUSTER_DEVICE is cuda, but the package cupy is not installed. {cure}") from exc
    except (RuntimeError, OSError, ImportError) as exc:  # CuPy's own errors of the driver are RuntimeErrors
        raise ConfigError(f"FACECLUSTER_DEVICE is cuda, but the GPU does not work: {exc}. {cure}") from exc
    if off > _MOST_OFF:
        raise ConfigError(f"The GPU's products are off by {off:.0e}: they are coarser than float32. {cure}")
    return cupy
