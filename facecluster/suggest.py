"""Parameters suggested from the faces themselves: a map of how little the people change around each setting.

No label and no name is looked at. A setting is safe where photos do not contradict it (nobody is in one photo twice)
and nobody swallows the others; it is stable where a step of epsilon or of the minimum size moves at most one face in
ten. The largest connected region of such settings is the plateau, and the suggestion is the point in it that is nearest
to the defaults: nobody is moved without a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from facecluster.clustering import ExtractionParams, Hierarchy, Method, Progress, Sweep, epsilon_changes, sweep

# The whole range of the slider; the steps grow with the size, because one face more means less to a large person.
SIZES = (2, 3, 4, 5, 6, 8, 12, 20)
N_EPSILONS = 9
_STEPS = (0.02, 0.05, 0.1, 0.2)
# The first and the last few merges are outliers, which would stretch the axis over distances where nothing happens.
# With "leaf" and "cut" most merges lie within people, and what matters is where those between people begin.
_FIRST: dict[Method, float] = {"eom": 0.03, "leaf": 0.15, "cut": 0.85}
_LAST = 0.95
_MOST_EPSILON = 2.0

# A step may put one face in ten into other company, of those in people.
STABLE = 0.1
# Collages, mirrors and near twins contradict every setting a little: what counts is more than twice the usual.
TOO_MANY = 2
PAIRS_ALLOWED = 0.001  # of the faces, on top

Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]
Cell = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """One point of the map."""

    min_samples: int
    min_cluster_size: int
    epsilon: float


@dataclass(frozen=True, eq=False)
class StabilityMap:
    """What a grid of settings comes to. All grids are over `min_samples`, `sizes` and `epsilons`, in this order.

    Attributes
    ----------
    min_samples, sizes, epsilons
        The axes, ascending. The first epsilon is one that joins nobody, or next to nobody.
    n_faces : int
        Clustered faces.
    knows_photos : bool
        Whether any two faces are known to be in one photo; without, no setting can be contradicted.
    usual_largest, usual_pairs : float
        Faces of the largest person and impossible pairs without any epsilon, in the middle of the hierarchies.
    found : Sweep
        The counts.
    """

    min_samples: tuple[int, ...]
    sizes: tuple[int, ...]
    epsilons: tuple[float, ...]
    n_faces: int
    knows_photos: bool
    usual_largest: float
    usual_pairs: float
    found: Sweep

    @cached_property
    def moved(self) -> Grid:
        """Share of the faces in people that the worst single step of epsilon or of the minimum size moves.

        Steps of min_samples are apart (`found.by_hierarchy`): they lead to another hierarchy, and move more faces
        than any step within one.
        """
        worst = np.zeros(self.shape)
        for axis, step in ((1, self.found.by_size), (2, self.found.by_epsilon)):
            if step.shape[axis]:
                edge = [(0, 0)] * 3
                edge[axis] = (1, 1)
                padded = np.pad(step, edge)
                n = self.shape[axis]
                for side in (padded.take(range(n), axis), padded.take(range(1, n + 1), axis)):
                    worst = np.maximum(worst, side)
        return worst

    @property
    def shape(self) -> Cell:
        """Settings along each axis."""
        return len(self.min_samples), len(self.sizes), len(self.epsilons)

    @property
    def is_empty(self) -> Mask:
        """Where nobody is found."""
        return np.equal(self.found.people, 0)

    @property
    def is_collapsed(self) -> Mask:
        """Where the largest person has swallowed others."""
        usual = self.usual_largest or self.n_faces / 2
        return np.greater_equal(self.found.largest, TOO_MANY * usual)

    @property
    def is_contradicted(self) -> Mask:
        """Where people stand in one photo twice, more often than usual."""
        return np.greater(self.found.impossible_pairs, TOO_MANY * self.usual_pairs + PAIRS_ALLOWED * self.n_faces)

    @property
    def is_safe(self) -> Mask:
        """Where people are found, and neither photos nor a collapse speak against them."""
        return ~(self.is_empty | self.is_collapsed | self.is_contradicted)

    @property
    def is_good(self) -> Mask:
        """Safe, and stable."""
        return self.is_safe & (self.moved <= STABLE)

    def setting(self, cell: Cell) -> Setting:
        """The setting at a place of the grid."""
        return Setting(self.min_samples[cell[0]], self.sizes[cell[1]], self.epsilons[cell[2]])

    def cell(self, setting: Setting) -> Cell:
        """The place nearest to a setting."""
        return (
            _nearest(self.min_samples, setting.min_samples),
            _nearest(self.sizes, setting.min_cluster_size),
            _nearest(self.epsilons, setting.epsilon),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as plain arrays, and back by `from_arrays`."""
        return {
            "min_samples": np.array(self.min_samples, np.int64),
            "sizes": np.array(self.sizes, np.int64),
            "epsilons": np.array(self.epsilons, np.float64),
            "numbers": np.array([self.n_faces, self.knows_photos, self.usual_largest, self.usual_pairs], np.float64),
            **self.found.arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> StabilityMap:
        """What `to_arrays` took apart."""
        a = dict(arrays)
        samples, sizes, epsilons, numbers = (a.pop(x).tolist() for x in ("min_samples", "sizes", "epsilons", "numbers"))
        n_faces, knows_photos, largest, pairs = numbers
        found = Sweep(**a)  # type: ignore[arg-type]
        axes = (tuple(samples), tuple(sizes), tuple(epsilons))
        return cls(*axes, int(n_faces), bool(knows_photos), largest, pairs, found)


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Where to go.

    Attributes
    ----------
    plateau : Mask
        Shape of the map: the largest connected region of good settings; nothing where none is good.
    cell : Cell or None
        The suggested place in it.
    setting : Setting or None
        What stands there.
    is_default : bool
        Whether the defaults themselves are suggested.
    """

    plateau: Mask
    cell: Cell | None
    setting: Setting | None
    is_default: bool


def stability_map(
    hierarchies: Mapping[int, Hierarchy],
    method: Method,
    photo: NDArray[np.int32],
    default: Setting,
    progress: Progress | None = None,
) -> StabilityMap:
    """The map of some hierarchies of the same faces.

    Parameters
    ----------
    hierarchies : Mapping[int, Hierarchy]
        By `min_samples`, at least one.
    method : Method
        How people are read from them.
    photo : NDArray[np.int32]
        Shape (n_faces,): equal numbers are one photo, -1 unknown.
    default : Setting
        It becomes a point of the map.

    Returns
    -------
    StabilityMap
        The same in whatever order the faces come.
    """
    samples = tuple(sorted(hierarchies))
    ordered = [hierarchies[k] for k in samples]
    sizes = tuple(sorted({*SIZES, default.min_cluster_size}))
    epsilons = epsilon_axis(ordered, (sizes[0], default.min_cluster_size), method, default.epsilon)
    # Read as "eom" whatever the method is: a plain cut at 0 finds nobody, and nothing could be compared with that.
    usual = sweep(ordered, (default.min_cluster_size,), (0.0,), "eom", photo)
    found = sweep(ordered, sizes, epsilons, method, photo, progress)
    _, counts = np.unique(photo[photo >= 0], return_counts=True)
    largest, pairs = float(np.median(usual.largest)), float(np.median(usual.impossible_pairs))
    return StabilityMap(samples, sizes, epsilons, len(photo), bool((counts > 1).any()), largest, pairs, found)


def epsilon_axis(
    hierarchies: Sequence[Hierarchy], sizes: Sequence[int], method: Method, default: float
) -> tuple[float, ...]:
    """Values of epsilon where the people change, evenly apart; before them one that changes next to nothing.

    The default is one of them.
    """
    changes = np.concatenate(
        [epsilon_changes(h, ExtractionParams(size, 0.0, method)) for h in hierarchies for size in sorted(set(sizes))]
    )
    if not len(changes):
        return (default,)
    first, last = np.quantile(changes, [_FIRST[method], _LAST]).tolist()
    step = next((s for s in _STEPS if math.ceil(last / s) - N_EPSILONS + 1 <= first / s), _STEPS[-1])
    end = math.ceil(last / step)
    # Room that is left stands on the strict side: on the other one everybody is one person.
    values = [round((end - x) * step, 4) for x in reversed(range(N_EPSILONS))]
    values = [value for value in values if 0 < value <= _MOST_EPSILON and abs(value - default) > step / 10]
    before = [] if not values or default < values[0] else [0.0]
    return tuple(sorted({*values, *before, default}))


def _nearest(values: Sequence[float], value: float) -> int:
    """Place of the nearest of some values, the larger of two equally near: it is the less safe one."""
    return min(range(len(values)), key=lambda at: (abs(values[at] - value), -at))


def suggest(stability: StabilityMap, default: Setting) -> Suggestion:
    """The plateau and the point in it that is nearest to the defaults, in steps of the map.

    Of several equally near, the one around which the least faces move, then the one with most faces in people,
    then the first.
    """
    regions, n_regions = ndimage.label(stability.is_good)
    if not n_regions:
        return Suggestion(np.zeros(stability.shape, np.bool_), None, None, False)
    home = stability.cell(default)
    away = sum(
        np.abs(np.arange(n) - at).reshape([-1 if x == axis else 1 for x in range(3)])
        for axis, (n, at) in enumerate(zip(stability.shape, home, strict=True))
    )
    sizes = np.bincount(regions.ravel())[1:]
    nearest = ndimage.minimum(away, regions, np.arange(1, n_regions + 1))
    largest = 1 + int(np.lexsort((nearest, -sizes))[0])
    plateau = regions == largest
    cells = np.argwhere(plateau)
    at = tuple(cells.T)
    best = np.lexsort((-stability.found.placed[at], stability.moved[at], np.broadcast_to(away, stability.shape)[at]))[0]
    a, b, c = (int(x) for x in cells[best])
    setting = stability.setting((a, b, c))
    return Suggestion(plateau, (a, b, c), setting, setting == default)
