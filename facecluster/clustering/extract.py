"""The fast door: labels from a hierarchy, by excess of mass, by leaves or by a plain cut, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.arrays import positive_integer
from facecluster.clustering.hierarchy import Hierarchy
from facecluster.clustering.tree import SMALLEST_DISTANCE, CondensedTree, SingleLinkage, condense, condensed
from facecluster.errors import InputError

Method = Literal["eom", "leaf", "cut"]

NOISE = -1

# One person alone has no split to be found by: all faces within this distance of the rest are then taken for
# one. On real faces 1.10 is as far as epsilon can go without joining people.
SINGLE_CLUSTER_EPSILON = 1.10


@dataclass(frozen=True)
class ExtractionParams:
    """What the sliders set; checked when made.

    Attributes
    ----------
    min_cluster_size : int
        Fewest faces of a cluster, at least 2.
    epsilon : float
        Distance, >= 0. For "eom" and "leaf": splits below it are undone (hdbscan's
        `cluster_selection_epsilon`). For "cut": faces joined at or below it are one cluster.
    method : {"eom", "leaf", "cut"}
        Excess of mass, leaves of the condensed tree, or a plain cut of the single linkage tree.
    """

    min_cluster_size: int = 3
    epsilon: float = 0.35
    method: Method = "eom"

    def __post_init__(self) -> None:
        size = positive_integer(self.min_cluster_size, "min_cluster_size", "clusters were extracted", least=2)
        object.__setattr__(self, "min_cluster_size", size)
        try:
            epsilon = float(self.epsilon)
        except (TypeError, ValueError):
            epsilon = math.nan
        if not (math.isfinite(epsilon) and epsilon >= 0.0):
            raise InputError(
                f"epsilon is {self.epsilon!r}; it must be a distance of at least 0. No clusters were extracted. "
                "Choose another value; 0.35 is the default."
            )
        object.__setattr__(self, "epsilon", epsilon)
        if self.method not in get_args(Method):
            raise InputError(
                f"The method is {self.method!r}; it must be one of {', '.join(get_args(Method))}. "
                "No clusters were extracted. Choose one of these."
            )


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters of faces.

    Attributes
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,): cluster of each face, `NOISE` (-1) for none; clusters numbered by size, largest
        first, ties by their smallest row.
    strength : NDArray[np.float32]
        Shape (n_faces,), membership in [0, 1], 0 for noise.
    is_single_cluster_fallback : bool
        True where "eom" found no split at all and the one cluster was taken by distance instead.
    min_cluster_size : int
        Fewest faces of a cluster, as asked for: what is made of these clusters keeps to it.
    """

    labels: NDArray[np.int32]
    strength: NDArray[np.float32]
    is_single_cluster_fallback: bool = False
    min_cluster_size: int = 2

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max(initial=NOISE)) + 1


def extract(hierarchy: Hierarchy, params: ExtractionParams | None = None) -> Clustering:
    """Clusters of a hierarchy for one setting of the sliders.

    Parameters
    ----------
    hierarchy : Hierarchy
        Of any number of faces, none included.
    params : ExtractionParams or None
        The defaults where left out.

    Returns
    -------
    Clustering
        With "eom" and "leaf", labels and strengths as hdbscan takes them from the same tree. Where "eom"
        finds nothing, as hdbscan with `allow_single_cluster` and an epsilon of at least 1.10. With "cut",
        strength is the least distance at which any member joined, divided by the face's own.
    """
    params = params or ExtractionParams()
    return replace(_extract(hierarchy, params), min_cluster_size=params.min_cluster_size)


def _extract(hierarchy: Hierarchy, params: ExtractionParams) -> Clustering:
    n = hierarchy.n_faces
    if n < 2:
        return Clustering(np.full(n, NOISE, np.int32), np.zeros(n, np.float32))
    tree = hierarchy.single_linkage
    if params.method == "cut":
        return numbered(*_cut(tree, params), n)
    clusters = condensed(tree, params.min_cluster_size)
    if len(clusters.parent) == 1:
        if params.method == "leaf":
            return Clustering(np.full(n, NOISE, np.int32), np.zeros(n, np.float32))
        return _single_cluster(clusters, max(params.epsilon, SINGLE_CLUSTER_EPSILON))
    chosen = with_epsilon(clusters, selected(clusters, params.method), params.epsilon)
    labels, strength = _label(clusters.face_cluster, clusters.face_lambda, clusters.parent, clusters.death, chosen)
    return numbered(labels, strength, len(clusters.parent))


def partitions(
    hierarchy: Hierarchy, min_cluster_size: int, method: Method, epsilons: Sequence[float]
) -> Iterator[tuple[NDArray[np.int32], int]]:
    """The partition that `extract` finds at each of some epsilons, without what only one of them is looked at for.

    Yields
    ------
    labels : NDArray[np.int32]
        Shape (n_faces,), `NOISE` for none, the clusters numbered in no order. The same array again where the
        partition is the same as at the epsilon before.
    most : int
        Above every label.
    """
    tree = hierarchy.single_linkage if hierarchy.n_faces > 1 else None
    # Not kept: whoever asks for many epsilons at once has them all, and the sliders shall stay quick.
    clusters = condense(tree, min_cluster_size) if tree is not None and method != "cut" else None
    if clusters is None or len(clusters.parent) == 1:
        for epsilon in epsilons:
            found = extract(hierarchy, ExtractionParams(min_cluster_size, epsilon, method))
            yield found.labels, found.n_clusters
        return
    before = selected(clusters, method)
    last: NDArray[np.bool_] | None = None
    labels = np.empty(0, np.int32)
    for epsilon in epsilons:
        chosen = with_epsilon(clusters, before, epsilon)
        if last is None or not np.array_equal(chosen, last):
            labels, last = _owners(clusters.face_cluster, clusters.parent, chosen), chosen
        yield labels, len(clusters.parent)


def selected(tree: CondensedTree, method: Method) -> NDArray[np.bool_]:
    """Clusters that "eom" or "leaf" takes before any epsilon, shape (n_clusters,); never the root."""
    if method == "leaf":
        is_leaf = np.ones(len(tree.parent), np.bool_)
        is_leaf[tree.parent[1:]] = False
        return is_leaf
    chosen: NDArray[np.bool_] = _excess_of_mass(tree.parent, tree.stability)
    return chosen


def with_epsilon(tree: CondensedTree, chosen: NDArray[np.bool_], epsilon: float) -> NDArray[np.bool_]:
    """What is taken instead where splits below `epsilon` are undone, shape (n_clusters,)."""
    taken: NDArray[np.bool_] = _climb(tree.parent, tree.birth, chosen, epsilon)
    return taken


@njit(nogil=True, cache=True)
def _excess_of_mass(parent, stability):  # type: ignore[no-untyped-def]
    n = len(parent)
    mass = stability.copy()
    # The reference adds up the children in single precision, which decides between nearly equal masses.
    below = np.zeros(n, np.float32)
    is_better = np.zeros(n, np.bool_)
    for c in range(n - 1, 0, -1):
        children = np.float64(below[c])
        is_better[c] = not children > mass[c]
        if not is_better[c]:
            mass[c] = children
        # Children come in pairs, the left one odd, and are added left first once both are settled.
        if c % 2 == 1:
            below[parent[c]] = np.float32(np.float64(np.float32(mass[c])) + mass[c + 1])
    is_taken = np.zeros(n, np.bool_)
    is_swallowed = np.zeros(n, np.bool_)
    for c in range(1, n):
        is_swallowed[c] = is_swallowed[parent[c]] or is_taken[parent[c]]
        is_taken[c] = is_better[c] and not is_swallowed[c]
    return is_taken


@njit(nogil=True, cache=True)
def _climb(parent, birth, chosen, epsilon):  # type: ignore[no-untyped-def]
    n = len(parent)
    taken = np.zeros(n, np.bool_)
    target = np.zeros(n, np.int32)
    for c in range(1, n):
        p = parent[c]
        if p == 0:
            target[c] = c
        elif 1.0 / birth[p] > epsilon:
            target[c] = p
        else:
            target[c] = target[p]
        if chosen[c]:
            taken[target[c] if 1.0 / birth[c] < epsilon else c] = True
    return taken


@njit(nogil=True, cache=True)
def _label(face_cluster, face_lambda, parent, death, chosen):  # type: ignore[no-untyped-def]
    """Each face's nearest taken cluster, NOISE where none, and its strength there."""
    n = len(face_cluster)
    owner = np.full(len(parent), NOISE, np.int32)
    for c in range(1, len(parent)):
        owner[c] = c if chosen[c] else owner[parent[c]]
    labels = np.empty(n, np.int32)
    strength = np.zeros(n, np.float32)
    for face in range(n):
        c = owner[face_cluster[face]]
        labels[face] = c
        if c != NOISE:
            strength[face] = min(face_lambda[face], death[c]) / death[c]
    return labels, strength


@njit(nogil=True, cache=True)
def _owners(face_cluster, parent, chosen):  # type: ignore[no-untyped-def]
    """Each face's nearest taken cluster, NOISE where none."""
    owner = np.full(len(parent), NOISE, np.int32)
    for c in range(1, len(parent)):
        owner[c] = c if chosen[c] else owner[parent[c]]
    return owner[face_cluster]


def _single_cluster(tree: CondensedTree, epsilon: float) -> Clustering:
    is_member = tree.face_lambda >= 1.0 / epsilon
    strength = np.where(is_member, np.minimum(tree.face_lambda / tree.death[0], 1.0), 0.0)
    labels = np.where(is_member, 0, NOISE).astype(np.int32)
    return Clustering(labels, strength.astype(np.float32), bool(is_member.any()))


def _cut(tree: SingleLinkage, params: ExtractionParams) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    labels, strength = _cut_tree(tree.left, tree.right, tree.height, tree.size, params.min_cluster_size, params.epsilon)
    return labels, strength


@njit(nogil=True, cache=True)
def _cut_tree(left, right, height, size, least, epsilon):  # type: ignore[no-untyped-def]
    n = len(left) + 1
    n_merges = np.searchsorted(height, epsilon, side="right")
    owner = np.full(2 * n - 1, NOISE, np.int32)
    joined = np.full(n, np.inf, np.float64)
    closest = np.full(n, np.inf, np.float64)
    n_clusters = 0
    for merge in range(n_merges - 1, -1, -1):
        own = owner[n + merge]
        if own == NOISE and size[merge] >= least:
            own = n_clusters
            n_clusters += 1
        # A merge inside a small component comes out as noise all the way down.
        elif own == NOISE:
            continue
        for child in (left[merge], right[merge]):
            owner[child] = own
            if child < n:
                joined[child] = max(height[merge], SMALLEST_DISTANCE)
                closest[own] = min(closest[own], joined[child])
    labels = owner[:n].copy()
    strength = np.zeros(n, np.float32)
    for face in range(n):
        if labels[face] != NOISE:
            strength[face] = closest[labels[face]] / joined[face]
    return labels, strength


def numbered(labels: NDArray[np.int32], strength: NDArray[np.float32], most: int) -> Clustering:
    """Numbers the clusters (labels below `most`) by size, largest first, ties by smallest row."""
    return Clustering(_new_numbers(labels, most), strength)


@njit(nogil=True, cache=True)
def _new_numbers(labels, most):  # type: ignore[no-untyped-def]
    size = np.zeros(most, np.int32)
    seen = np.empty(most, np.int32)
    n_seen = 0
    for label in labels:
        if label != NOISE:
            if size[label] == 0:
                seen[n_seen] = label
                n_seen += 1
            size[label] += 1
    # Counted, not compared: with a million faces, sorting would take longer than everything else here. `seen` is in
    # order of smallest rows, and counting keeps that order among equal sizes.
    largest = 0
    for x in range(n_seen):
        largest = max(largest, size[seen[x]])
    place = np.zeros(largest + 2, np.int32)
    for x in range(n_seen):
        place[largest - size[seen[x]] + 1] += 1
    for x in range(largest + 1):
        place[x + 1] += place[x]
    number = np.full(most, NOISE, np.int32)
    for x in range(n_seen):
        at = largest - size[seen[x]]
        number[seen[x]] = place[at]
        place[at] += 1
    out = np.empty(len(labels), np.int32)
    for face in range(len(labels)):
        out[face] = number[labels[face]] if labels[face] != NOISE else NOISE
    return out
