"""Two published runs side by side: what each was made with, what it came to, and who differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from facecluster.clustering.gauges import impossible_pairs
from facecluster.model import RunRecord
from facecluster.plan import Plan
from facecluster.search import cosine
from facecluster.service import Service
from facecluster.ui import photo, plan_diff, plan_words, session, widgets
from facecluster.ui.plan_words import Story

NOTE = "compare"
_KEPT = 6


@dataclass(frozen=True)
class Compared:
    """Two runs, as the library is today: faces that are still there, people as they are after all merges.

    Attributes
    ----------
    plan : Plan
        What going from the first to the second does.
    n_owned, n_same : int
        Faces that either gives to somebody, and those that both give to the same person.
    """

    plan: Plan
    told: tuple[Story, ...]
    n_owned: int
    n_same: int


def ask(a: str, b: str) -> None:
    """Show two runs side by side, as a button's callback."""
    plan_diff.close_line(NOTE)
    session.remember(NOTE, (a, b))


def close() -> None:
    """List all runs again, as a button's callback."""
    session.forget(NOTE)


def asked(runs: Sequence[RunRecord]) -> tuple[str, str] | None:
    """The two that are to be shown, where both are still kept."""
    found, known = session.recall(NOTE), {run.id for run in runs}
    return found if isinstance(found, tuple) and known.issuperset(found) else None


@st.fragment
def panel(runs: Sequence[RunRecord]) -> None:
    """Both runs, to be chosen, and what differs."""
    with session.errors(), session.one_look():
        found = asked(runs)
        if found is None:
            return
        by_id = {run.id: run for run in runs}
        with st.container(horizontal=True, key="fc-two-choose"):
            a, b = (_choose(side, by_id, run) for side, run in zip("AB", found, strict=True))
        if (a, b) != found:
            ask(a, b)
        if a == b:
            st.text("A and B are the same run. Choose another.")
            return
        compared = _compared(session.service(), _library(), session.view().version, a, b)
        _side_by_side(by_id[a], by_id[b], compared.plan)
        st.text(_agreement(compared))
        if compared.told:
            plan_diff.show(NOTE, "What differs, from A to B", compared.plan, compared.told)
        face = photo.shown()
        if face is not None:
            photo.dialog(face)


def _choose(side: str, runs: dict[str, RunRecord], chosen: str) -> str:
    """One of the two, in a box."""
    live = session.view().snapshot.run
    names = session.view().snapshot.facts

    def words(run: str) -> str:
        name = names.get(("run_name", run, ""), "")
        is_live = "live" if live is not None and run == live.id else ""
        # No "2 minutes ago": what a box offers must be called the same until it is answered.
        return " · ".join(filter(None, (name, is_live, widgets.clock(runs[run].at))))

    ids = list(runs)
    found = st.selectbox(side, ids, ids.index(chosen), format_func=words, key=f"compare-{side}-{chosen}")
    return found or chosen


def _library() -> str:
    s = session.settings()
    return f"{s.library}|{s.user}"


@st.cache_resource(show_spinner="Comparing", max_entries=_KEPT)
def _compared(_service: Service, library: str, version: str, a: str, b: str) -> Compared:
    del library, version
    plan = _service.compared(a, b)
    is_owned = (plan.before >= 0) | (plan.after >= 0)
    n_same = int((is_owned & (plan.before == plan.after)).sum())
    return Compared(plan, tuple(plan_words.stories(plan, _service.view())), int(is_owned.sum()), n_same)


def _agreement(found: Compared) -> str:
    if not found.told:
        return "Nobody differs: both give each face to the same person."
    share = found.n_same / max(found.n_owned, 1)
    people = widgets.plural(sum(story.n_people for story in found.told), "person differs", "people differ")
    n = found.n_owned - found.n_same
    said = f"{share:.1%}" if share < 0.9995 else "All but a few"
    return f"{said} of the faces are with the same person in both; {people}, by {widgets.faces(n)}."


def _side_by_side(a: RunRecord, b: RunRecord, plan: Plan) -> None:
    """Parameters and counts of both; what is not equal stands out."""
    photos = session.view().faces.photo_number
    rows = [("", "A", "B"), *((name, _said(a, key), _said(b, key)) for name, key in _PARAMETERS.items())]
    counted = [
        (f"{len(np.unique(owner[owner >= 0])):,}", widgets.faces(int((owner < 0).sum())), _pairs(owner, photos))
        for owner in (plan.before, plan.after)
    ]
    rows += list(zip(("People", "Nobody's, or too blurred", "Impossible pairs"), *counted, strict=True))
    with st.container(key="fc-two-runs"):
        for at, (name, one, other) in enumerate(rows):
            with st.container(
                horizontal=True, key=f"fc-two-{'head' if not name else 'same' if one == other else 'other'}-{at}"
            ):
                for text in (name, one, other):
                    st.text(text)


def _pairs(owner: plan_words.Rows, photos: plan_words.Rows) -> str:
    return f"{impossible_pairs(owner, photos):,}" if (photos >= 0).any() else "no photo is known"


_PARAMETERS = {
    "A person needs at least": "min_cluster_size",
    "Neighbours that make a face dense": "min_samples",
    "How strict": "epsilon",
    "Method": "method",
    "Blurrier than this left out": "blur_threshold",
    "Mends what HDBSCAN finds": "refine",
}


def _said(run: RunRecord, key: str) -> str:
    """One parameter, as the sliders say it."""
    value = run.params.get(key)
    if key == "epsilon" and isinstance(value, int | float):
        return f"distance {value:.3g} · cosine {cosine(float(value)):.2f}"
    if key == "min_cluster_size" and isinstance(value, int):
        return widgets.faces(value)
    if key == "refine":
        return "no" if value is False else "yes"
    return "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
