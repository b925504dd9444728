"""Vectors of an uploaded file (.npy, .npz, .json, .csv) that a library can be searched by, or one sentence why not."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import InputError
from facecluster.importing import ALIASES, DAMAGE, normalised, numbers_in

# A vector of 512 numbers is 10 kB as text, so this is a thousand of them.
MAX_BYTES = 10_000_000
_CURE = "Nothing was searched. Choose a file with one vector, or one vector in each row, made as this library's were."


@dataclass(frozen=True)
class QueryVectors:
    """Vectors to choose from: unit rows, and why a row is none."""

    name: str
    rows: NDArray[np.float32]
    bad: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.rows)

    def one(self, number: int) -> NDArray[np.float32]:
        """The vector of a row, counted from 0.

        Raises
        ------
        InputError
            If there is none that can be searched by.
        """
        if not 0 <= number < len(self):
            raise InputError(
                f"{self.name} has {_vectors(len(self))}, and no row {number + 1:,}. Nothing was searched. "
                f"Choose a row from 1 to {len(self):,}."
            )
        if number in self.bad:
            raise InputError(
                f"Row {number + 1:,} of {self.name} cannot be searched by: {self.bad[number]}. Nothing was searched. "
                "Choose another row, or another file."
            )
        return np.asarray(self.rows[number])


def query_vectors(name: str, data: bytes, dimension: int) -> QueryVectors:
    """Vectors of a file, of any length, normalised.

    Parameters
    ----------
    name : str
        What the file is called; its ending says how it is read.
    dimension : int
        How many numbers a vector of the library has.

    Raises
    ------
    InputError
        If it holds no vector that can be searched by.
    """
    shown = name if len(name) <= 80 else f"…{name[-79:]}"
    ending = "." + name.rpartition(".")[2].lower()
    reader = _READERS.get(ending)
    if reader is None:
        raise InputError(f"{shown} is none of {', '.join(_READERS)}. {_CURE}")
    if len(data) > MAX_BYTES:
        raise InputError(f"{shown} has {len(data):,} bytes, and the limit is {MAX_BYTES:,}. {_CURE}")
    try:
        found = _table(reader(data), dimension)
    except DAMAGE as exc:
        raise InputError(f"{shown} cannot be read as {ending[1:]}. {_CURE}") from exc
    if not len(found):
        raise InputError(f"{shown} holds no vector. {_CURE}")
    if found.shape[1] != dimension:
        raise InputError(
            f"The vectors of {shown} have {found.shape[1]:,} numbers, and those of this library {dimension:,}. {_CURE}"
        )
    rows, bad = normalised(found, {})
    if len(bad) == len(rows):
        raise InputError(f"{shown} cannot be searched by: {bad[0]}. {_CURE}")
    return QueryVectors(shown, rows, bad)


def _vectors(n: int) -> str:
    return "1 vector" if n == 1 else f"{n:,} vectors"


def _table(values: Any, dimension: int) -> NDArray[np.float64]:
    """Numbers as rows; one row, or one column, of them is one vector."""
    found = np.asarray(values)
    if found.dtype.kind not in "fiu":
        raise ValueError(f"values of type {found.dtype}")
    if found.ndim == 1 and found.size:
        found = found[None, :]
    if found.ndim == 2 and found.shape == (dimension, 1):
        found = found.T
    if found.ndim != 2 and found.size:
        raise ValueError(f"values of shape {found.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # longer numbers become infinite, and are refused as such
        return found.astype(np.float64)


def _from_npy(data: bytes) -> NDArray[Any]:
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def _from_npz(data: bytes) -> NDArray[Any]:
    """The array that is named as vectors are, or the only one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError("it is far larger than it looks")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return np.asarray(file[_vector_key(file.files)])


def _from_json(data: bytes) -> Any:
    """A list of numbers, a list of such lists, or an object that has either."""
    value = json.loads(data.decode("utf-8-sig"))
    return value[_vector_key(list(value))] if isinstance(value, dict) else value


def _from_csv(data: bytes) -> list[list[float]]:
    """A vector in each row: its numbers, or those in the cell of a column that is named as vectors are."""
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    table = [row for row in csv.reader(text) if any(cell.strip() for cell in row)]
    head = [cell.strip().lower() for cell in table[0]] if table else []
    column = next((head.index(name) for name in ALIASES["vector"] if name in head), None)
    if column is not None:
        return [numbers_in(row[column]) or [] for row in table[1:]]
    rows = [numbers_in(",".join(row)) for row in table]
    return [row or [] for row in (rows[1:] if rows and rows[0] is None else rows)]


def _vector_key(names: Sequence[str]) -> str:
    return next((name for name in ALIASES["vector"] if name in names), names[0] if len(names) == 1 else "vector")


_READERS: dict[str, Callable[[bytes], Any]] = {
    ".npy": _from_npy,
    ".npz": _from_npz,
    ".json": _from_json,
    ".csv": _from_csv,
}
ENDINGS = tuple(ending[1:] for ending in _READERS)
