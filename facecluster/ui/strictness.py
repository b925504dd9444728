"""The epsilon slider, which must not lie: where it matters, and where two named people would merge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facecluster.hierarchies import Params
from facecluster.model import PersonId
from facecluster.search import cosine
from facecluster.service import Service

WHOLE = (0.0, 2.0)  # every distance that two unit vectors can have
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02)
_MOST_STEPS = 120  # more positions than a hand can tell apart on a slider of 350 pixels


@dataclass(frozen=True)
class Span:
    """Range of the epsilon slider, and how positions on it and values of epsilon belong together.

    The left end stands for every value below the first change and the right end for every value above the last:
    a value out there is kept as it is while the slider rests at that end.
    """

    low: float
    high: float
    step: float

    def position(self, epsilon: float) -> float:
        """Where the slider stands for a value."""
        inside = min(max(epsilon, self.low), self.high)
        return round(min(self.low + round((inside - self.low) / self.step) * self.step, self.high), 4)

    def epsilon(self, position: float, *known: float) -> float:
        """The value meant by a position: one of the known values that stand there, else the position itself."""
        return next((value for value in known if abs(self.position(value) - position) < self.step / 4), position)


def span_of(changes: NDArray[np.float64], is_whole: bool = False) -> Span:
    """The slider spans the values at which something changes, with a little room on both sides."""
    if is_whole or not len(changes):
        return Span(*WHOLE, 0.01)
    first, last = float(changes[0]), float(changes[-1])
    room = max(0.06 * (last - first), 0.01)
    wide = last - first + 2 * room
    step = next((s for s in _STEPS if wide / s <= _MOST_STEPS), _STEPS[-1])
    low = max(math.floor((first - room) / step) * step, 0.0)
    n_steps = math.ceil((last + room - low) / step)
    return Span(round(low, 4), round(low + n_steps * step, 4), step)


@dataclass(frozen=True)
class Meeting:
    """The least epsilon at which two named people fall into one cluster, who do not without epsilon."""

    epsilon: float
    people: tuple[PersonId, PersonId]


def first_meeting(service: Service, params: Params, changes: NDArray[np.float64]) -> Meeting | None:
    """Find by halving where the first two named people meet; None where they never do."""
    view = service.view()
    if int(view.state.is_named.sum()) < 2 or not len(changes):
        return None
    owner = view.state.owner
    of_named = (owner >= 0) & view.state.is_named[owner] & ~view.state.is_masked

    def homes(epsilon: float) -> Mapping[int, int]:
        return _homes(service, replace(params, epsilon=epsilon), owner, of_named)

    apart = homes(0.0)
    if _who_met(homes(float(changes[-1])), apart) is None:
        return None
    low, high = -1, len(changes) - 1  # nobody has met at low, somebody has at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _who_met(homes(float(changes[middle])), apart) else (middle, high)
    pair = _who_met(homes(float(changes[high])), apart)
    assert pair is not None  # noqa: S101  (the loop keeps it so)
    return Meeting(float(changes[high]), (view.state.people[pair[0]], view.state.people[pair[1]]))


def _homes(
    service: Service, params: Params, owner: NDArray[np.int32], of_named: NDArray[np.bool_]
) -> Mapping[int, int]:
    """The cluster that holds most faces of each named person, of equals the one with the largest number."""
    rows, clusters = service.extracted(params)
    some = np.flatnonzero(of_named[rows])
    some = some[clusters.labels[some] >= 0]
    n = max(clusters.n_clusters, 1)
    pairs, counts = np.unique(owner[rows[some]].astype(np.int64) * n + clusters.labels[some], return_counts=True)
    order = np.argsort(counts, kind="stable")  # the largest is written last
    return {int(p) // n: int(p) % n for p in pairs[order]}


def _who_met(homes: Mapping[int, int], apart: Mapping[int, int]) -> tuple[int, int] | None:
    """Two people of one home who have different ones when apart."""
    first: dict[int, int] = {}
    for person, home in sorted(homes.items()):
        other = first.setdefault(home, person)
        if other != person and apart.get(other, -1 - other) != apart.get(person, -1 - person):
            return other, person
    return None


def strict_words(epsilon: float, changes: NDArray[np.float64]) -> str:
    """The value in force, in both measures."""
    words = f"distance {epsilon:.3g} · cosine {cosine(epsilon):.2f}"
    return words + (", no effect" if not len(changes) or epsilon < changes[0] else "")


def span_words(changes: NDArray[np.float64], meeting: tuple[float, str, str] | None, n_named: int) -> str:
    """Where epsilon matters, from the data: below which value it does nothing, and where two named people would merge.

    Parameters
    ----------
    changes : NDArray[np.float64]
        As `Service.epsilon_changes` gives them.
    meeting : tuple[float, str, str] or None
        Where the first two named people meet, and their names.
    n_named : int
        How many people have names.
    """
    if not len(changes):
        return "Epsilon changes nothing here, at any value: no two groups are left to join."
    first = math.floor(float(changes[0]) * 100) / 100
    words = f"Below {first:.2f} (cosine {cosine(first):.2f}) epsilon changes nothing here"
    if meeting is not None:
        at = math.ceil(meeting[0] * 100) / 100
        who = f"{meeting[1]} and {meeting[2]}, the first two named people," if all(meeting[1:]) else "two named people"
        return f"{words}; at {at:.2f} (cosine {cosine(at):.2f}) {who} would merge."
    if n_named > 1:
        return f"{words}, and no two named people merge at any value."
    last = math.ceil(float(changes[-1]) * 100) / 100
    return f"{words}; above {last:.2f} (cosine {cosine(last):.2f}) nothing is left to merge."


def rug(changes: NDArray[np.float64], span: Span, met: float | None) -> str:
    """SVG under the slider: one thin line for each value at which something changes, amber where named people meet."""
    wide = span.high - span.low
    even = ' vector-effect="non-scaling-stroke"'  # the picture is stretched to the slider's width
    places = np.unique(np.round((changes - span.low) / wide * 348)).tolist()
    lines = "".join(f'<path d="M{x + 0.5} 6V14" stroke="#9a9184" opacity=".7"{even}/>' for x in places if 0 <= x <= 348)
    if met is not None and span.low <= met <= span.high:
        x = round((met - span.low) / wide * 348) + 0.5
        lines += f'<path d="M{x} 0V14" stroke="#c98a2b" stroke-width="2"{even}/>'
    box = 'viewBox="0 0 349 14" preserveAspectRatio="none" width="349" height="14"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{lines}</svg>'
