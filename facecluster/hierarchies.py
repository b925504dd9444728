"""Which faces are clustered, and the hierarchies of exactly these: saved by `compute`, the newest kept in memory.

Everything here takes the view its caller works on: another process may add faces between two looks, and rows of one set
must never meet the vectors, or the address of saved work, of the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import (
    NOISE,
    Clustering,
    ExtractionParams,
    Hierarchy,
    Refinement,
    RowFacts,
    extract,
    reference,
    refine,
)
from facecluster.compute import ComputeCache, erased_meanwhile
from facecluster.model import BLURRED, FaceSet
from facecluster.nearest import Lists
from facecluster.plan import Plan, measured
from facecluster.ports import Progress, part_of
from facecluster.reconcile import reconcile
from facecluster.suggest import Setting, StabilityMap, stability_map
from facecluster.view import View

K = TypeVar("K")
V = TypeVar("V")

_KEPT = 8
_KEPT_CLUSTERS = 24  # where two named people meet is found by halving, on the same dozen of values after each name
# The neighbour lists are the same whatever min_samples is; looked for are hierarchies from 1 up to this.
_LISTS_FROM = 16
# Part of a saved map's address: one made by other rules is not read.
STABILITY_VERSION = 1


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

    @property
    def setting(self) -> Setting:
        """The same as a point of the stability map."""
        return Setting(self.min_samples, self.min_cluster_size, self.epsilon)


# Of which faces, the file's mark when it was read, and what `Hierarchies.base` says of it.
_Base = tuple[str, tuple[int, int] | None, tuple[NDArray[np.int64], str]]


class Hierarchies:
    """The hierarchies of one user's library."""

    def __init__(self, cache: ComputeCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], Hierarchy] = {}
        # One setting of the sliders asks for both twenty times, 8 ms each at 100,000 faces.
        self._last_key: tuple[FaceSet | None, float, str] = (None, 0.0, "")
        self._base: _Base = ("", None, (np.empty(0, np.int64), ""))
        self._clusters: dict[tuple[str, int, ExtractionParams], Clustering] = {}
        self._plans: dict[tuple[str, Params, bytes], Plan] = {}
        self._refined: dict[tuple[str, bytes], Refinement] = {}
        self._traced: dict[tuple[str, int], Refinement] = {}
        self._vectors: tuple[str, NDArray[np.float32]] = ("", np.empty((0, 0), np.float32))

    def base(self, view: View, blur_threshold: float) -> tuple[NDArray[np.int64], str] | None:
        """Rows that are clustered, and the fingerprint of their vectors; None where nothing was built yet."""
        key = self._key(view, blur_threshold)
        mark = self._cache.base_mark(key)
        known = self._base
        if mark is not None and known[:2] == (key, mark):
            return known[2]
        rows = self._cache.base(key)
        if rows is None:
            return None
        rows.flags.writeable = False
        found = rows, sha256(key.encode() + rows.astype("<i8").tobytes()).hexdigest()[:40]
        self._base = key, mark, found
        return found

    def set_base(self, view: View, blur_threshold: float) -> None:
        """From now on cluster the faces that are sharp and not set aside at this moment."""
        rows = np.flatnonzero(view.faces.sharp(blur_threshold) & ~view.state.is_masked)
        self._cache.set_base(self._key(view, blur_threshold), rows)

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
        return rows, self._of_base(view, rows, fingerprint, min_samples, progress)

    def _of_base(
        self,
        view: View,
        rows: NDArray[np.int64],
        fingerprint: str,
        min_samples: int,
        progress: Progress | None = None,
    ) -> Hierarchy:
        def make() -> Hierarchy:
            is_saved = self._cache.has_hierarchy(fingerprint, min_samples)
            vectors = self._picked(view, rows, fingerprint) if is_saved else view.faces.vectors[rows]
            with self._cache.as_of(view.snapshot.revision):
                made = self._cache.hierarchy(vectors, fingerprint, min_samples, progress)
            return self._sharing_lists(made, fingerprint)

        return self._once(self._kept, (fingerprint, min_samples), make)

    def _sharing_lists(self, hierarchy: Hierarchy, fingerprint: str) -> Hierarchy:
        """The same with the neighbour lists of another one of these faces where they are equal: most of its weight."""
        with self._lock:
            others = [one.knn for (of, _), one in self._kept.items() if of == fingerprint]
        mine = hierarchy.knn
        for knn in others:
            if np.array_equal(knn.indices, mine.indices) and np.array_equal(knn.distances, mine.distances):
                return replace(hierarchy, knn=knn)
        return hierarchy

    def lists(self, view: View) -> Lists | None:
        """Saved neighbour lists of the faces that the live run clustered; None where no hierarchy is saved."""
        blur_threshold = view.live_blur_threshold
        base = self.base(view, blur_threshold)
        ready = range(1, _LISTS_FROM + 1) if base is not None else ()
        found = next((k for k in ready if base is not None and self._cache.has_hierarchy(base[1], k)), None)
        if found is None:
            return None
        rows, hierarchy = self.get(view, blur_threshold, found)
        return Lists(rows, hierarchy.knn.indices, hierarchy.knn.distances)

    def stability(
        self, view: View, params: Params, default: Params, live: Sequence[int], progress: Progress | None = None
    ) -> StabilityMap:
        """How little the people change around each setting, by the hierarchies that are ready; only the first is built.

        Parameters
        ----------
        params : Params
            Its blur threshold and method are looked at.
        default : Params
            A point of the map.
        live : sequence of int
            Values of min_samples to look at; the default comes on top.
        """
        samples, address = self._stability_address(view, params, default, live)
        if not samples:
            self.get(view, params.blur_threshold, params.min_samples)
            samples, address = self._stability_address(view, params, default, (params.min_samples,))
            if not samples:  # a hierarchy is saved once it is built, but for one of somebody who was erased meanwhile
                raise erased_meanwhile()

        def make() -> Mapping[str, NDArray[np.generic]]:
            found = {k: self.get(view, params.blur_threshold, k)[1] for k in samples}
            photo = self._photos(view, params.blur_threshold)
            return stability_map(found, params.method, photo, default.setting, progress).to_arrays()

        with self._cache.as_of(view.snapshot.revision):
            return StabilityMap.from_arrays(self._cache.stability(address, make))

    def has_stability(self, view: View, params: Params, default: Params, live: Sequence[int]) -> bool:
        """Whether `stability` answers at once."""
        return self._cache.has_stability(self.stability_address(view, params, default, live))

    def stability_address(self, view: View, params: Params, default: Params, live: Sequence[int]) -> str:
        """What `stability` is kept under now: another one where anything is different that it depends on."""
        return self._stability_address(view, params, default, live)[1]

    def _stability_address(
        self, view: View, params: Params, default: Params, live: Sequence[int]
    ) -> tuple[list[int], str]:
        """Which hierarchies a map is made of, and under what it is saved: everything it depends on."""
        _, fingerprint = self.require_base(view, params.blur_threshold)
        samples = [k for k in sorted({*live, default.min_samples}) if self._cache.has_hierarchy(fingerprint, k)]
        said = f"{STABILITY_VERSION} {params.method} {default.setting} {samples}"
        photo = self._photos(view, params.blur_threshold)
        digest = sha256(said.encode() + photo.astype("<i4").tobytes()).hexdigest()[:20]
        return samples, f"{fingerprint}-{digest}"  # by the fingerprint it is found when the faces are no longer so

    def _photos(self, view: View, blur_threshold: float) -> NDArray[np.int32]:
        """Photo number of each clustered row, -1 where it is unknown or the face was set aside."""
        rows, _ = self.require_base(view, blur_threshold)
        photo = view.faces.photo_number[rows]
        return np.where(view.state.is_masked[rows], -1, photo).astype(np.int32)

    def map(self, view: View, progress: Progress | None = None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and places, shape (n, 2), of the faces on the map."""
        rows, fingerprint = self.require_base(view, view.live_blur_threshold)
        with self._cache.as_of(view.snapshot.revision):
            return rows, self._cache.map(view.faces.vectors[rows], fingerprint, progress)

    def has_map(self, view: View) -> bool:
        """Whether `map` answers at once."""
        base = self.base(view, view.live_blur_threshold)
        return base is not None and self._cache.has_map(base[1])

    def verify(self, view: View, params: Params, progress: Progress | None = None) -> reference.Verification:
        """Check tree and labels against the hdbscan package."""
        rows, hierarchy = self.get(view, params.blur_threshold, params.min_samples, part_of(progress, 0.0, 0.2))
        vectors = view.faces.vectors[rows]
        return reference.verify(vectors, hierarchy, params.min_samples, params.extraction, part_of(progress, 0.2, 1.0))

    def n_masked(self, view: View) -> int:
        """Faces that were set aside since the live run's hierarchy was built."""
        base = self.base(view, view.live_blur_threshold)
        return 0 if base is None else int(view.state.is_masked[base[0]].sum())

    def clusters(
        self, view: View, params: Params, progress: Progress | None = None
    ) -> tuple[NDArray[np.int64], Clustering]:
        """Clustered rows, and their clusters as HDBSCAN alone has them."""
        rows, fingerprint = self.require_base(view, params.blur_threshold)
        hierarchy = self._of_base(view, rows, fingerprint, params.min_samples, progress)
        if params.engine == "hdbscan":
            vectors = view.faces.vectors[rows]
            return rows, reference.hdbscan_clustering(vectors, params.min_samples, params.extraction)
        # Each move of a slider asks for its own three times, and for those at epsilon 0.
        key = (fingerprint, params.min_samples, params.extraction)
        return rows, self._once(self._clusters, key, lambda: extract(hierarchy, params.extraction), _KEPT_CLUSTERS)

    def plan(self, view: View, params: Params, author: str, progress: Progress | None = None) -> Plan:
        """What publishing these parameters would change: clusters, the second layer, then the people there are."""
        rows, clusters = self.clusters(view, params, progress)
        coverage = view.faces.coverage
        said = {**asdict(params), **(coverage.for_the_record() if coverage is not None else {})}
        # Most values of epsilon come to the same clusters as the one before, and so to the same plan; and whether
        # somebody has a name counts, not which.
        told = view.state.is_named, view.state.is_protected
        digest = sha256(b"".join(part.tobytes() for part in (clusters.labels, clusters.strength, *told))).digest()
        key = (view.version_but_names, replace(params, epsilon=0.0, method="eom"), digest)
        found = self._once(self._plans, key, lambda: self._planned(view, params, rows, clusters))
        return replace(found.named_as(view.snapshot), params=said, author=author)

    def _planned(self, view: View, params: Params, rows: NDArray[np.int64], clusters: Clustering) -> Plan:
        refined = self.refined(view, params, clusters, view.state.row_facts(view.faces.photo_number, rows))
        label = np.where(view.faces.sharp(params.blur_threshold), NOISE, BLURRED).astype(np.int32)
        strength = np.zeros(len(view.faces), np.float32)
        label[rows], strength[rows] = (clusters if refined is None else refined).labels, clusters.strength
        label[view.state.is_masked] = NOISE
        found = reconcile(view.faces, label, strength, view.snapshot, view.state, {}, "")
        return measured(found, view.faces, view.state, rows, clusters.labels, refined)

    def refined(self, view: View, params: Params, clusters: Clustering, facts: RowFacts) -> Refinement | None:
        """What the second layer makes of these clusters; None where HDBSCAN alone is wanted."""
        if not params.refine or params.engine == "hdbscan":
            return None
        rows, fingerprint = self.require_base(view, params.blur_threshold)
        hierarchy = self._of_base(view, rows, fingerprint, params.min_samples)
        said = (facts.pins, facts.not_person, facts.same, facts.different, facts.photo)
        digest = sha256(b"".join(part.tobytes() for part in (clusters.labels, *said)))
        digest.update(f"{[len(part) for part in said]} {params.min_samples} {params.min_cluster_size}".encode())

        def make() -> Refinement:
            vectors = self._picked(view, rows, fingerprint)
            of = fingerprint, params.min_samples
            found = refine(hierarchy, clusters, vectors, facts, self._traced.get(of))
            self._traced = {of: found}  # the next one has most in common with the last
            return replace(found, trace=None)

        # Plans are made anew after each name that anybody gives, and this is half of a plan.
        return self._once(self._refined, (fingerprint, digest.digest()), make)

    def _picked(self, view: View, rows: NDArray[np.int64], fingerprint: str) -> NDArray[np.float32]:
        """Vectors of the clustered rows, to be read: the file itself where these are all faces."""
        every = view.faces.vectors.view(np.ndarray)
        if len(rows) == len(every):
            return every
        # Kept, because picking them out takes as long as the layer itself, and every move of a slider needs them.
        known, vectors = self._vectors
        if known != fingerprint:
            vectors = every[rows]
            self._vectors = (fingerprint, vectors)
        return vectors

    def _once(self, kept: dict[K, V], key: K, make: Callable[[], V], most: int = _KEPT) -> V:
        """What is kept under a key, made where it is not; the longest unused are given up."""
        with self._lock:
            found = kept.get(key)
        if found is None:
            found = make()
        with self._lock:
            kept.pop(key, None)
            kept[key] = found
            while len(kept) > most:
                kept.pop(next(iter(kept)))
        return found

    def _key(self, view: View, blur_threshold: float) -> str:
        """What the choice of faces is kept under: which there are, and which are sharp."""
        faces, threshold, key = self._last_key
        if faces is not view.faces or threshold != blur_threshold:
            sharp = np.packbits(view.faces.sharp(blur_threshold)).tobytes()
            key = sha256(view.faces.fingerprint.encode() + sharp).hexdigest()[:40]
            self._last_key = view.faces, blur_threshold, key
        return key
