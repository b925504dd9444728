"""Saved neighbours, hierarchies and maps: content-addressed files, written aside and renamed, read without pickle."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import Hierarchy, Neighbours, build_hierarchy, find_neighbours
from facecluster.ports import Progress, part_of
from facecluster.projection import project

# Part of every file name: a change of what the files mean makes old ones invisible, never misread.
FORMAT = 2
NEIGHBOURS = 16

# One flipped bit in a zip's directory hides arrays without any error, so their number is kept with them.
_COUNT = "number_of_arrays"
# What numpy and zipfile raise on damaged files: measured by flipping bits in every byte of two.
_DAMAGE = (ValueError, OSError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile)

Arrays = dict[str, NDArray[np.generic]]


class ComputeCache:
    """Results of long computations in one folder, under what they were computed from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def neighbours(
        self, vectors: NDArray[np.float32], fingerprint: str, k: int, progress: Progress | None = None
    ) -> Neighbours:
        """Exact neighbour lists, read or made."""
        name = f"neighbours-{fingerprint}-{k}"
        arrays = self._get_or_make(name, lambda: find_neighbours(vectors, k=k, progress=progress).to_arrays())
        return Neighbours.from_arrays(arrays)

    def hierarchy(
        self, vectors: NDArray[np.float32], fingerprint: str, min_samples: int, progress: Progress | None = None
    ) -> Hierarchy:
        """The hierarchy, read or made; making it reads or makes the neighbours first."""

        def make() -> Arrays:
            k = max(NEIGHBOURS, min_samples)
            neighbours = self.neighbours(vectors, fingerprint, k, part_of(progress, 0.0, 0.9))
            part = part_of(progress, 0.9, 1.0)
            return build_hierarchy(vectors, min_samples=min_samples, neighbours=neighbours, progress=part).to_arrays()

        return Hierarchy.from_arrays(self._get_or_make(f"hierarchy-{fingerprint}-{min_samples}", make))

    def has_hierarchy(self, fingerprint: str, min_samples: int) -> bool:
        """Whether `hierarchy` answers at once."""
        return self._path(f"hierarchy-{fingerprint}-{min_samples}").is_file()

    def map(
        self, vectors: NDArray[np.float32], fingerprint: str, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Where each face lies on the map, read or made."""

        def make() -> Arrays:
            neighbours = self.neighbours(vectors, fingerprint, NEIGHBOURS, part_of(progress, 0.0, 0.5))
            if progress:
                progress(0.5, "Drawing the map")
            knn = neighbours.knn
            return {"xy": project(vectors, knn.indices, knn.distances)}

        return np.asarray(self._get_or_make(f"map-{fingerprint}", make)["xy"], np.float32)

    def has_map(self, fingerprint: str) -> bool:
        """Whether `map` answers at once."""
        return self._path(f"map-{fingerprint}").is_file()

    def stability(self, address: str, make: Callable[[], Mapping[str, NDArray[np.generic]]]) -> Arrays:
        """A stability map, read or made; the address says what it was made from."""
        return self._get_or_make(f"stability-{address}", make)

    def has_stability(self, address: str) -> bool:
        """Whether `stability` answers at once."""
        return self._path(f"stability-{address}").is_file()

    def base(self, key: str) -> NDArray[np.int64] | None:
        """Rows that the hierarchies of these faces are built from, None where none were built yet."""
        arrays = self._load(self._path(f"base-{key}"))
        return None if arrays is None else arrays["rows"].astype(np.int64)

    def set_base(self, key: str, rows: NDArray[np.int64]) -> None:
        """Remember the rows, in place of earlier ones."""
        self._save(self._path(f"base-{key}"), {"rows": rows})

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}-v{FORMAT}.npz"

    def _get_or_make(self, name: str, make: Callable[[], Mapping[str, NDArray[np.generic]]]) -> Arrays:
        path = self._path(name)
        found = self._load(path)
        if found is None:
            found = dict(make())
            self._save(path, found)
        return found

    def _load(self, path: Path) -> Arrays | None:
        try:
            # Opened here: numpy leaves a file open that it finds damaged.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = {key: file[key] for key in file.files}
            if int(found.pop(_COUNT, -1)) != len(found):
                raise ValueError("arrays are missing")
            return found
        except FileNotFoundError:
            return None
        except _DAMAGE:
            path.unlink(missing_ok=True)  # damaged; everything here can be computed again
            return None

    def _save(self, path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f".{uuid4().hex}.tmp"
        try:
            with aside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays, **{_COUNT: np.int64(len(arrays))})
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
