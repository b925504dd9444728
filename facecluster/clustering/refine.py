"""The place of the second, visible layer: what facts about faces change in HDBSCAN's clusters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.extract import Clustering
from facecluster.clustering.hierarchy import Hierarchy


def _no_pairs() -> NDArray[np.int32]:
    return np.empty((0, 2), np.int32)


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What a curator said about faces, in row numbers.

    Attributes
    ----------
    pins : NDArray[np.int32]
        Shape (m, 2): row, number of the person it is.
    not_person : NDArray[np.int32]
        Shape (m, 2): row, number of a person it is not.
    same, different : NDArray[np.int32]
        Shape (m, 2): two rows that are, or are not, one person.
    photo : NDArray[np.int32]
        Shape (n_faces,): equal numbers are one photo, -1 unknown; empty where no photo is known.
    """

    pins: NDArray[np.int32] = field(default_factory=_no_pairs)
    not_person: NDArray[np.int32] = field(default_factory=_no_pairs)
    same: NDArray[np.int32] = field(default_factory=_no_pairs)
    different: NDArray[np.int32] = field(default_factory=_no_pairs)
    photo: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))


@dataclass(frozen=True, eq=False)
class Refinement:
    """Labels after the second layer, and why they differ from the first.

    Attributes
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,), as in `Clustering`.
    changed : NDArray[np.int32]
        Shape (n_changed,), ascending: the rows whose label is no longer HDBSCAN's.
    reasons : tuple[str, ...]
        One reason for each row of `changed`.
    """

    labels: NDArray[np.int32]
    changed: NDArray[np.int32]
    reasons: tuple[str, ...]


def refine(
    hierarchy: Hierarchy,  # noqa: ARG001
    clustering: Clustering,
    vectors: ArrayLike,  # noqa: ARG001
    facts: RowFacts | None = None,  # noqa: ARG001
) -> Refinement:
    """Labels after the second layer; today these are HDBSCAN's own, unchanged.

    Callers go through here, so that a layer that attaches faces and takes strangers out reaches all of them at
    once, with a reason for every face it moves.

    Parameters
    ----------
    hierarchy : Hierarchy
        Of the faces.
    clustering : Clustering
        What `extract` made of it.
    vectors : ArrayLike
        Shape (n_faces, dimension), float32 unit rows.
    facts : RowFacts or None
        What is known about the faces; nothing where left out.

    Returns
    -------
    Refinement
        The labels of `clustering`, no row changed, no reasons.
    """
    return Refinement(clustering.labels.copy(), np.empty(0, np.int32), ())
