"""The single linkage tree of a spanning tree, and its condensed tree for one minimum cluster size."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.forest import find_root
from facecluster.clustering.mst import SpanningTree

# Lambda is 1 / distance; a floor keeps it finite where identical rows merge at distance 0.
SMALLEST_DISTANCE = 1e-9
# Condensed trees kept for each hierarchy, so that a move of epsilon need not condense again. One of a million faces
# takes about 20 MB.
_KEPT = 2


@dataclass(frozen=True, eq=False)
class SingleLinkage:
    """Merges in ascending order; merge x makes node n_faces + x (as in scipy's linkage matrices).

    Attributes
    ----------
    left, right : NDArray[np.int32]
        Shape (n_faces - 1,): the nodes merged.
    height : NDArray[np.float64]
        Shape (n_faces - 1,): mutual reachability at which they merge.
    size : NDArray[np.int32]
        Shape (n_faces - 1,): faces below the merge.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    height: NDArray[np.float64]
    size: NDArray[np.int32]

    @property
    def n_faces(self) -> int:
        """Number of faces; a tree has at least one."""
        return len(self.left) + 1

    def as_linkage_matrix(self) -> NDArray[np.float64]:
        """Shape (n_faces - 1, 4): left, right, height, size, as scipy and hdbscan write it."""
        return np.column_stack([self.left, self.right, self.height, self.size]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class CondensedTree:
    """Clusters of at least `min_cluster_size` faces, the root first, parents before their children.

    Attributes
    ----------
    face_cluster : NDArray[np.int32]
        Shape (n_faces,): the smallest cluster each face is ever in.
    face_lambda : NDArray[np.float64]
        Shape (n_faces,): lambda at which the face leaves it.
    parent : NDArray[np.int32]
        Shape (n_clusters,): -1 for the root. Children come in pairs, left then right.
    birth, death : NDArray[np.float64]
        Shape (n_clusters,): lambda at which the cluster splits off, 0 for the root, and the largest at which
        something leaves it.
    size : NDArray[np.int32]
        Shape (n_clusters,): faces at birth.
    stability : NDArray[np.float64]
        Shape (n_clusters,): excess of mass.
    """

    face_cluster: NDArray[np.int32]
    face_lambda: NDArray[np.float64]
    parent: NDArray[np.int32]
    birth: NDArray[np.float64]
    death: NDArray[np.float64]
    size: NDArray[np.int32]
    stability: NDArray[np.float64]


def single_linkage(mst: SpanningTree) -> SingleLinkage:
    """Merges along the edges of the spanning tree, in their order."""
    # Copies, so that a tree read from a read-only file runs through the same compiled code.
    left, right, size = _merge(np.array(mst.u), np.array(mst.v))
    return SingleLinkage(left, right, np.array(mst.weight), size)


def condense(tree: SingleLinkage, min_cluster_size: int) -> CondensedTree:
    """Drops every branch of fewer than `min_cluster_size` faces: its faces leave the cluster it hangs on.

    Parameters
    ----------
    tree : SingleLinkage
        Of at least one face.
    min_cluster_size : int
        Faces that make a cluster, at least 2.

    Returns
    -------
    CondensedTree
        Lambda is 1 / max(distance, 1e-9).

    Source: Campello, Moulavi and Sander (2013); McInnes and Healy (2017), condensed tree.
    """
    return CondensedTree(*_condense(tree.left, tree.right, tree.height, tree.size, min_cluster_size))


_condensed: WeakKeyDictionary[SingleLinkage, dict[int, CondensedTree]] = WeakKeyDictionary()
_lock = threading.Lock()


def condensed(tree: SingleLinkage, min_cluster_size: int) -> CondensedTree:
    """What `condense` makes; the last few of a tree are kept as long as the tree is."""
    with _lock:
        kept = _condensed.setdefault(tree, {})
        found = kept.pop(min_cluster_size, None)
    if found is None:
        found = condense(tree, min_cluster_size)
    with _lock:
        # The newest stands last.
        kept[min_cluster_size] = found
        while len(kept) > _KEPT:
            del kept[next(iter(kept))]
    return found


@njit(nogil=True, cache=True)
def _merge(u, v):  # type: ignore[no-untyped-def]
    n = len(u) + 1
    parent = np.arange(n)
    node = np.arange(n)
    count = np.ones(n, np.int64)
    left = np.empty(n - 1, np.int32)
    right = np.empty(n - 1, np.int32)
    size = np.empty(n - 1, np.int32)
    for x in range(n - 1):
        a = find_root(parent, u[x])
        b = find_root(parent, v[x])
        left[x] = node[a]
        right[x] = node[b]
        if count[a] < count[b]:
            a, b = b, a
        parent[b] = a
        count[a] += count[b]
        node[a] = n + x
        size[x] = count[a]
    return left, right, size


@njit(nogil=True, cache=True)
def _condense(left, right, height, size, least):  # type: ignore[no-untyped-def]
    n = len(left) + 1
    most = 1 + 2 * (n // least)
    parent = np.full(most, -1, np.int32)
    birth = np.zeros(most, np.float64)
    death = np.zeros(most, np.float64)
    count = np.zeros(most, np.int32)
    stability = np.zeros(most, np.float64)
    count[0] = n
    n_clusters = 1
    # Of every node: its cluster, and for nodes in a dropped branch the lambda at which it left (else 0).
    cluster = np.zeros(2 * n - 1, np.int32)
    left_at = np.zeros(2 * n - 1, np.float64)
    for node in range(2 * n - 2, n - 1, -1):
        merge = node - n
        own = cluster[node]
        if left_at[node] > 0.0:
            for child in (left[merge], right[merge]):
                cluster[child] = own
                left_at[child] = left_at[node]
            continue
        level = 1.0 / max(height[merge], SMALLEST_DISTANCE)
        death[own] = max(death[own], level)
        left_size = size[left[merge] - n] if left[merge] >= n else 1
        right_size = size[right[merge] - n] if right[merge] >= n else 1
        is_split = left_size >= least and right_size >= least
        for child, child_size in ((left[merge], left_size), (right[merge], right_size)):
            cluster[child] = own
            if is_split:
                cluster[child] = n_clusters
                parent[n_clusters] = own
                birth[n_clusters] = level
                count[n_clusters] = child_size
                n_clusters += 1
                stability[own] += (level - birth[own]) * child_size
            elif child_size < least:
                left_at[child] = level
                # Face by face, as the reference adds: the last bit decides between equal stabilities.
                for _ in range(child_size):
                    stability[own] += level - birth[own]
    return (
        cluster[:n],
        left_at[:n],
        parent[:n_clusters],
        birth[:n_clusters],
        death[:n_clusters],
        count[:n_clusters],
        stability[:n_clusters],
    )
