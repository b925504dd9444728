"""Which faces are clustered, and the hierarchies of exactly these: saved by `compute`, the newest kept in memory.

Everything here takes the view its caller works on: another process may add faces between two looks, and rows of one set
must never meet the vectors, or the address of saved work, of the other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import Clustering, ExtractionParams, Hierarchy, extract, reference
from facecluster.compute import ComputeCache
from facecluster.ports import Progress
from facecluster.view import View

_KEPT = 8


@dataclass(frozen=True)
class Params:
    """What a clustering is made with."""

    min_samples: int
    min_cluster_size: int
    epsilon: float
    method: Literal["eom", "leaf", "cut"]
    blur_threshold: float
    refine: bool = True
    engine: Literal["fast", "hdbscan"] = "fast"

    @property
    def extraction(self) -> ExtractionParams:
        """The part that sliders move."""
        return ExtractionParams(self.min_cluster_size, self.epsilon, self.method)


class Hierarchies:
    """The hierarchies of one user's library."""

    def __init__(self, cache: ComputeCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], Hierarchy] = {}

    def base(self, view: View, blur_threshold: float) -> tuple[NDArray[np.int64], str] | None:
        """Rows that are clustered, and the fingerprint of their vectors; None where nothing was built yet."""
        key = _key(view, blur_threshold)
        rows = self._cache.base(key)
        if rows is None:
            return None
        return rows, sha256(key.encode() + rows.astype("<i8").tobytes()).hexdigest()[:40]

    def set_base(self, view: View, blur_threshold: float) -> None:
        """From now on cluster the faces that are sharp and not set aside at this moment."""
        rows = np.flatnonzero(view.faces.sharp(blur_threshold) & ~view.state.is_masked)
        self._cache.set_base(_key(view, blur_threshold), rows)

    def require_base(self, view: View, blur_threshold: float) -> tuple[NDArray[np.int64], str]:
        """`base`, chosen now where there is none."""
        base = self.base(view, blur_threshold)
        if base is None:
            self.set_base(view, blur_threshold)
            base = self.base(view, blur_threshold)
        assert base is not None  # noqa: S101  (it has just been written)
        return base

    def get(
        self, view: View, blur_threshold: float, min_samples: int, progress: Progress | None = None
    ) -> tuple[NDArray[np.int64], Hierarchy]:
        """Clustered rows and their hierarchy; built now where there is none."""
        rows, fingerprint = self.require_base(view, blur_threshold)
        key = (fingerprint, min_samples)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            found = self._cache.hierarchy(view.faces.vectors[rows], fingerprint, min_samples, progress)
            with self._lock:
                while len(self._kept) >= _KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[key] = found
        return rows, found

    def clusters(
        self, view: View, params: Params, progress: Progress | None = None
    ) -> tuple[NDArray[np.int64], Clustering]:
        """Clustered rows, and their clusters as HDBSCAN alone has them."""
        rows, hierarchy = self.get(view, params.blur_threshold, params.min_samples, progress)
        if params.engine == "hdbscan":
            vectors = view.faces.vectors[rows]
            return rows, reference.hdbscan_clustering(vectors, params.min_samples, params.extraction)
        return rows, extract(hierarchy, params.extraction)


def _key(view: View, blur_threshold: float) -> str:
    sharp = np.packbits(view.faces.sharp(blur_threshold)).tobytes()
    return sha256(view.faces.fingerprint.encode() + sharp).hexdigest()[:40]
