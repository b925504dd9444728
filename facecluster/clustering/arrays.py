"""Small checks shared by the doors of the package."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.tiles import Progress
from facecluster.errors import InputError


def report(progress: Progress | None, share: float, message: str) -> None:
    """Tells `progress` how far the work is; whatever it raises comes out unchanged."""
    if progress is not None:
        progress(min(max(share, 0.0), 1.0), message)


def positive_integer(value: Any, name: str, undone: str, least: int = 1) -> int:
    """The value as an int, or an InputError that says what was not done."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InputError(
            f"{name} is {value!r}; it must be a whole number of at least {least}. No {undone}. Choose another value."
        )
    return number


def scalar(array: NDArray[np.generic]) -> int:
    """The whole number in a 0-d array."""
    return int(array.item())
