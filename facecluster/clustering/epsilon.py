"""Where epsilon matters: the values at which a partition changes, for a slider that does not lie."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.extract import SINGLE_CLUSTER_EPSILON, ExtractionParams, selected
from facecluster.clustering.hierarchy import Hierarchy
from facecluster.clustering.tree import CondensedTree, SingleLinkage, condensed


def epsilon_changes(hierarchy: Hierarchy, params: ExtractionParams | None = None) -> NDArray[np.float64]:
    """The values of epsilon at which the partition changes, for one method and minimum size.

    Parameters
    ----------
    hierarchy : Hierarchy
        Of any number of faces, none included.
    params : ExtractionParams or None
        Its epsilon is not looked at.

    Returns
    -------
    NDArray[np.float64]
        Ascending, distinct, all above 0. `extract` at one of these values gives another partition than just
        below it (`numpy.nextafter`), and the same partition at every epsilon from it up to the next. With
        "cut" these are the distances at which a cluster is born, grows or merges. Two values that differ in
        the last bit are normal: hdbscan undoes some splits at their very distance and others just above it.
    """
    params = params or ExtractionParams()
    if hierarchy.n_faces < 2:
        return np.empty(0)
    tree = hierarchy.single_linkage
    if params.method == "cut":
        return _changes_of_cut(tree, params.min_cluster_size)
    clusters = condensed(tree, params.min_cluster_size)
    if len(clusters.parent) == 1:
        return _changes_of_single_cluster(clusters) if params.method == "eom" else np.empty(0)
    chosen = selected(clusters, params.method)
    moves, is_late = _moves(clusters.parent, clusters.birth, clusters.size, chosen)
    return np.unique(np.where(is_late, np.nextafter(moves, np.inf), moves))


def _changes_of_cut(tree: SingleLinkage, min_cluster_size: int) -> NDArray[np.float64]:
    changes = np.unique(tree.height[tree.size >= min_cluster_size])
    # At 0 identical faces are joined already: nothing lies below it to differ from.
    return changes[changes > 0.0]


def _changes_of_single_cluster(tree: CondensedTree) -> NDArray[np.float64]:
    """The least epsilon with lambda >= 1 / epsilon, of every lambda that 1.10 leaves out."""
    outside = np.unique(tree.face_lambda[tree.face_lambda < 1.0 / SINGLE_CLUSTER_EPSILON])
    value = 1.0 / outside
    # 1 / (1 / x) may miss x by a bit or two.
    for _ in range(4):
        value = np.where(1.0 / value > outside, np.nextafter(value, np.inf), value)
    for _ in range(4):
        before = np.nextafter(value, 0.0)
        value = np.where(1.0 / before <= outside, before, value)
    return np.unique(value)


@njit(nogil=True, cache=True)
def _moves(parent, birth, size, chosen):  # type: ignore[no-untyped-def]
    """Distances at which what is taken changes, and whether only just above them.

    Epsilon passes the distance x at which a split is undone. A cluster that was taken by itself gives way
    just above x; one that already stands in for taken ones below it gives way at x itself. Where both kinds
    do at one x, the partition changes at x and again just above, unless at x each that gave way only put its
    parent's name on the same faces.
    """
    n = len(parent)
    at, target, stands_in = _who_gives_way(parent, birth, chosen)
    early = np.zeros(n, np.int64)
    faces = np.zeros(n, np.int64)
    for c in range(1, n):
        # A child of the root has nowhere to go.
        if parent[c] > 0 and (stands_in[c] or chosen[c]):
            early[target[c]] += stands_in[c]
            faces[target[c]] += size[c]
    values = np.empty(n, np.float64)
    is_late = np.zeros(n, np.bool_)
    n_values = 0
    for c in range(1, n):
        is_same_set = early[target[c]] == 1 and faces[target[c]] == size[target[c]]
        if parent[c] > 0 and (chosen[c] or (stands_in[c] and not is_same_set)):
            values[n_values] = at[c]
            is_late[n_values] = chosen[c]
            n_values += 1
    return values[:n_values], is_late[:n_values]


@njit(nogil=True, cache=True)
def _who_gives_way(parent, birth, chosen):  # type: ignore[no-untyped-def]
    """Of every cluster: the distance of its split, where it goes then, and whether it stands in for others."""
    n = len(parent)
    at = np.full(n, np.inf, np.float64)
    target = np.zeros(n, np.int32)
    for c in range(1, n):
        at[c] = 1.0 / birth[c]
        p = parent[c]
        # The nearest cluster above whose own split is still there, but never the root.
        if p == 0:
            target[c] = c
        elif at[p] > at[c]:
            target[c] = p
        else:
            target[c] = target[p]
    lies_above = np.zeros(n, np.bool_)
    stands_in = np.zeros(n, np.bool_)
    for c in range(n - 1, 0, -1):
        if chosen[c] or lies_above[c]:
            lies_above[parent[c]] = True
            stands_in[parent[c]] |= at[c] < at[parent[c]]
    stands_in[0] = False
    return at, target, stands_in
