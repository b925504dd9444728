"""The gauges beside the sliders: what is counted, in words, and what to warn of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import gauges
from facecluster.model import BLURRED
from facecluster.plan import Plan, refine_words
from facecluster.ui.plan_words import joined, listed
from facecluster.ui.widgets import faces, plural
from facecluster.view import View

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Gauge:
    """One number with the line under it."""

    title: str
    value: str
    line: str
    is_warning: bool = False


@dataclass(frozen=True)
class Counts:
    """What gauges compare: one state of the library, live or planned."""

    people: int
    not_sure: int
    share: float
    impossible_pairs: int
    largest: int


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
    )


def live_counts(view: View) -> Counts | None:
    """The library as it is today; None before anything was published."""
    if view.snapshot.run is None:
        return None
    return counts_of(view.state.owner, view.label, view.state.is_masked, view.faces.photo_number)


def plan_counts(plan: Plan, view: View) -> Counts:
    """The library as a plan would have it."""
    return counts_of(plan.after, plan.label, view.state.is_masked, view.faces.photo_number)


def gauge_row(plan: Plan, view: View, then: Counts, today: Counts | None) -> list[Gauge]:
    """People, not sure, impossible pairs, names at risk."""
    pairs = then.impossible_pairs
    knows_photos = bool((view.faces.photo_number >= 0).any())
    at_risk = [view.snapshot.people[p].name for p in plan.names_at_risk if p in view.snapshot.people]
    n_pins = int((view.state.pin >= 0).sum())
    kept = "Every name stays with its faces" if view.state.is_named.any() else "Nobody has a name yet"
    safe = f"{faces(n_pins)} you confirmed stay" if n_pins else kept
    today_pairs = f", {today.impossible_pairs:,} today" if today is not None else ""
    twice = "People twice in one photo" if pairs else "Nobody twice in one photo"
    return [
        Gauge("People", f"{then.people:,}", f"{today.people:,} today" if today is not None else "Nobody yet"),
        Gauge(
            "Not sure",
            faces(then.not_sure),
            f"{then.share:.1%}" + (f", {faces(today.not_sure)} today" if today is not None else ""),
        ),
        Gauge(
            "Impossible pairs",
            f"{pairs:,}" if knows_photos else "Unknown",
            twice + today_pairs if knows_photos else "No photo is known",
            is_warning=pairs > 0,
        ),
        Gauge(
            "Names at risk",
            f"{len(at_risk):,}" if at_risk else "None",
            listed(at_risk) if at_risk else safe,
            is_warning=bool(at_risk),
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


def warnings(then: Counts, today: Counts | None, without_epsilon: Counts | None) -> list[str]:
    """What to look at before publishing, measured against today and against epsilon 0."""
    found = []
    for other, when in ((today, "today"), (without_epsilon, "without epsilon")):
        if other is None or other.people == 0:
            continue
        if then.largest >= 2 * other.largest:
            found.append(
                f"The largest person would have {faces(then.largest)}, against {other.largest:,} {when}: "
                "groups of different people are falling together."
            )
        if then.impossible_pairs > 2 * other.impossible_pairs:
            found.append(
                f"Impossible pairs rise to {then.impossible_pairs:,}, against {other.impossible_pairs:,} {when}: "
                "these are people joined with somebody from the same photo."
            )
    # Said once each, against whichever comes first.
    return list({text.split(",")[0]: text for text in reversed(found)}.values())[::-1]
