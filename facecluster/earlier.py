"""What was reckoned of a library at one moment, and need not be reckoned anew for a later one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facecluster.model import FaceId
from facecluster.nearest import Nearest
from facecluster.row_state import RowState


@dataclass(frozen=True, eq=False)
class Owned:
    """Whose the faces are at one moment: ascending rows and the cover by rule (None without a face) of each person."""

    state: RowState
    rows: list[NDArray[np.int64]]
    covers: list[FaceId | None]


@dataclass(frozen=True)
class Earlier:
    """What was reckoned at another moment of the same faces, and need not be reckoned anew.

    Attributes
    ----------
    covers : Mapping[bytes, FaceId]
        `View.covers`.
    owned : Owned | None
        `View.owned`.
    noise, blurred : Nearest | None
        `View.near_noise` and `View.near_blurred`, of the last moment at which somebody asked.
    usual : tuple[str, float] | None
        The run of which `View.usual_cosine` was taken, and what it was.
    """

    covers: Mapping[bytes, FaceId] = field(default_factory=dict)
    owned: Owned | None = None
    noise: Nearest | None = None
    blurred: Nearest | None = None
    usual: tuple[str, float] | None = None
