"""The gauges beside the sliders: what is counted, in words, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import gauges
from facecluster.model import BLURRED
from facecluster.plan import Plan, refine_words
from facecluster.suggest import PAIRS_ALLOWED, TOO_MANY
from facecluster.ui.plan_words import joined, listed
from facecluster.ui.widgets import faces, plural
from facecluster.view import View

Rows = NDArray[np.int32]
# "look": something is odd, and may well be right. "stop": a name or whole people are at stake.
Level = Literal["fine", "look", "stop"]
WORDS: dict[Level, str] = {"fine": "", "look": "Look at it: ", "stop": "Stop and look: "}
PAIRS = "Impossible pairs"
# More faces of nobody than today, as shares: from both on it is worth a look.
_MORE_TIMES, _MORE_SHARE = 1.5, 0.05


@dataclass(frozen=True)
class Gauge:
    """One number with the line under it."""

    title: str
    value: str
    line: str
    level: Level = "fine"

    @property
    def words(self) -> str:
        """The line, after the word for its colour."""
        return f"{WORDS[self.level]}{self.line}"


@dataclass(frozen=True)
class Warned:
    """A sentence on what is wrong, and which gauge it is about."""

    title: str
    text: str
    level: Level


@dataclass(frozen=True)
class Counts:
    """What gauges compare: one state of the library, live or planned."""

    people: int
    not_sure: int
    share: float
    impossible_pairs: int
    largest: int
    faces: int = 0  # that could be somebody's


def counts_of(owner: Rows, label: Rows, is_masked: NDArray[np.bool_], photo: Rows) -> Counts:
    """Count one state of the library: who owns each face, and what the clusters say."""
    open_rows = (label != BLURRED) & ~is_masked
    not_sure = int((open_rows & (owner < 0)).sum())
    sizes = np.bincount(owner[owner >= 0])
    return Counts(
        int((sizes > 0).sum()),
        not_sure,
        not_sure / max(int(open_rows.sum()), 1),
        gauges.impossible_pairs(owner, photo),
        int(sizes.max(initial=0)),
        int(open_rows.sum()),
    )


def live_counts(view: View) -> Counts | None:
    """The library as it is today; None before anything was published."""
    if view.snapshot.run is None:
        return None
    return counts_of(view.state.owner, view.label, view.state.is_masked, view.faces.photo_number)


def plan_counts(plan: Plan, view: View) -> Counts:
    """The library as a plan would have it."""
    return counts_of(plan.after, plan.label, view.state.is_masked, view.faces.photo_number)


def gauge_row(plan: Plan, view: View, then: Counts, today: Counts | None, warned: Sequence[Warned] = ()) -> list[Gauge]:
    """People, not sure, impossible pairs, names at risk."""
    pairs = then.impossible_pairs
    knows_photos = bool((view.faces.photo_number >= 0).any())
    at_risk = [view.snapshot.people[p].name for p in plan.names_at_risk if p in view.snapshot.people]
    n_pins = int((view.state.pin >= 0).sum())
    kept = "Every name stays with its faces" if view.state.is_named.any() else "Nobody has a name yet"
    safe = f"{faces(n_pins)} you confirmed stay" if n_pins else kept
    today_pairs = f", {today.impossible_pairs:,} today" if today is not None else ""
    twice = "people twice in one photo" if pairs else "Nobody twice in one photo"
    level: dict[str, Level] = {one.title: one.level for one in warned}
    together = f"people fall together, {then.largest:,} faces in one" if level.get("People") else ""
    people = f"{today.people:,} today" if today is not None else "Nobody yet"
    is_vague = today is not None and then.share >= max(_MORE_TIMES * today.share, today.share + _MORE_SHARE)
    unsure = f"{then.share:.1%}" + (f", {faces(today.not_sure)} today" if today is not None else "")
    return [
        Gauge("People", f"{then.people:,}", together or people, level.get("People", "fine")),
        Gauge("Not sure", faces(then.not_sure), unsure, "look" if is_vague else "fine"),
        Gauge(
            PAIRS,
            f"{pairs:,}" if knows_photos else "Unknown",
            twice + today_pairs if knows_photos else "No photo is known",
            level.get(PAIRS, "look" if pairs else "fine"),
        ),
        Gauge(
            "Names at risk",
            f"{len(at_risk):,}" if at_risk else "None",
            f"{listed(at_risk)} would be mixed up or fall apart" if at_risk else safe,
            "stop" if at_risk else "fine",
        ),
    ]


def aside(measured: Mapping[str, float], is_first: bool = False) -> list[tuple[str, bool]]:
    """The small second line: what else is counted, and whether it is wrong."""
    pins, rejections = int(measured["contradicted_pins"]), int(measured["contradicted_not_persons"])
    said = [
        plural(pins, "confirmation", "confirmations") if pins else "",
        plural(rejections, "rejection", "rejections") if rejections else "",
    ]
    said = [text for text in said if text]
    against = f"The clusters contradict {joined(said)} of yours; yours hold" if said else ""
    mended = refine_words(measured)
    words = [
        (against, True),
        ("" if is_first else f"{measured['churn']:.1%} of the faces change hands", False),
        (f"Over HDBSCAN's clusters: {mended}" if mended else "", False),
        (f"{faces(int(measured['blurred']))} too blurred to sort", False),
    ]
    return [(text, is_wrong) for text, is_wrong in words if text]


def warnings(then: Counts, today: Counts | None, without_epsilon: Counts | None) -> list[Warned]:
    """What to look at before publishing, measured against today and against epsilon 0."""
    found: dict[str, Warned] = {}  # each is said once, against whichever comes first
    for other, when in ((today, "today"), (without_epsilon, "without epsilon")):
        if other is None or other.people == 0:
            continue
        if then.largest >= TOO_MANY * other.largest:
            text = (
                f"The largest person would have {faces(then.largest)}, against {other.largest:,} {when}: "
                "groups of different people are falling together."
            )
            found.setdefault("People", Warned("People", text, "stop"))
        if then.impossible_pairs > TOO_MANY * other.impossible_pairs:
            text = (
                f"Impossible pairs rise to {then.impossible_pairs:,}, against {other.impossible_pairs:,} {when}: "
                "these are people joined with somebody from the same photo."
            )
            # Collages and mirrors make a few: the map of settings draws the line at the same place.
            many = then.impossible_pairs > TOO_MANY * other.impossible_pairs + PAIRS_ALLOWED * then.faces
            found.setdefault(PAIRS, Warned(PAIRS, text, "stop" if many else "look"))
    return list(found.values())
