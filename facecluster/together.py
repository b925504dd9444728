"""Which photos hold all of some people, any of others and nobody of a third kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def photo_groups(photo: NDArray[np.int32]) -> NDArray[np.int64]:
    """Photo number of each face; a face whose photo is unknown (-1) is a photo of its own, with a number above them."""
    found = photo.astype(np.int64)
    alone = np.flatnonzero(found < 0)
    found[alone] = found.max(initial=-1) + 1 + np.arange(len(alone))
    return found


def photos_with(
    group: NDArray[np.int64],
    all_of: Sequence[NDArray[np.int64]],
    any_of: Sequence[NDArray[np.int64]],
    without: Sequence[NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """Which photos hold a face of each in `all_of`, of one in `any_of` (if there are any) and of none in `without`.

    Parameters
    ----------
    group : NDArray[np.int64]
        Shape (n_faces,): `photo_groups`.
    all_of, any_of, without : Sequence[NDArray[np.int64]]
        Rows of the faces of each person.

    Returns
    -------
    NDArray[np.bool_]
        Shape (n_photos,).
    """
    n = int(group.max(initial=-1)) + 1

    def hold(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        found = np.zeros(n, np.bool_)
        found[group[rows]] = True
        return found

    found = np.ones(n, np.bool_)
    for rows in all_of:
        found &= hold(rows)
    if any_of:
        found &= hold(np.concatenate(any_of))
    for rows in without:
        found &= ~hold(rows)
    return found
