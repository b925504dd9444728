"""What Tune stands on besides widgets: its parameters, plans kept for going back, faces behind a question."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from facecluster.clustering.gauges import impossible_pair_rows
from facecluster.errors import StaleWriteError
from facecluster.hierarchies import Params
from facecluster.model import PersonId, Question
from facecluster.plan import Plan
from facecluster.service import LIVE_MIN_SAMPLES, Service
from facecluster.suggest import Setting
from facecluster.ui import crops, gauge_words, pictures, plan_words, session, widgets
from facecluster.ui.ahead import Kept
from facecluster.ui.strictness import Meeting, first_meeting
from facecluster.view import View

# Plans that are made at one moment: two at once take as long as one after the other, and hold up everybody else.
_turn = threading.BoundedSemaphore(max((os.cpu_count() or 1) // 2, 1))
_KEPT = 12  # plans; one of 100,000 faces takes about 5 MB


# --- parameters ----------------------------------------------------------------------------------------------------


def start_params(service: Service) -> Params:
    """Parameters of the live run, else the settings'; the engine is always our own, because only it is live."""
    run = service.view().snapshot.run
    known = {f.name for f in fields(Params)} - {"engine"}
    given = {key: value for key, value in run.params.items() if key in known} if run is not None else {}
    return replace(service.defaults, **given)  # type: ignore[arg-type]


def wanted() -> tuple[Params, int]:
    """What the sliders say, and how often they were put back: part of their keys."""
    found = session.recall("tune")
    if isinstance(found, tuple) and found[0] == _library():
        return found[1], found[2]
    return start_params(session.service()), 0


def want(params: Params) -> None:
    """Follow the sliders."""
    if params.setting != session.recall("adopted"):
        session.forget("adopted")
    if params != wanted()[0]:
        session.forget("shown_tune")  # a long list was asked for of another plan
    session.remember("tune", (_library(), params, wanted()[1]))


def discard() -> None:
    """Back to the live run's parameters, as a button's callback."""
    with session.told():
        session.remember("tune", (_library(), start_params(session.service()), wanted()[1] + 1))


def adopt(setting: Setting) -> None:
    """Put the sliders where a suggestion says, as a button's callback."""
    with session.told():
        params, turn = wanted()
        session.remember("tune", (_library(), replace(params, **asdict(setting)), turn + 1))
        session.remember("adopted", setting)


def min_samples_choices(params: Params, n_faces: int) -> list[int]:
    """Values of min_samples that are prepared together, so that the slider is live on all of them."""
    live = [k for k in LIVE_MIN_SAMPLES if k < n_faces] or [1]
    return live if params.min_samples in live else sorted([*live, params.min_samples])


def is_ready(params: Params, n_faces: int) -> bool:
    """Whether every position of the sliders answers at once."""
    service = session.service()
    return all(service.is_ready(replace(params, min_samples=k)) for k in min_samples_choices(params, n_faces))


def left_out(view: View, blur_threshold: float) -> int:
    """Faces below a blur threshold."""
    return len(view.faces) - int(view.faces.sharp(blur_threshold).sum())


# --- results, kept for going back ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """Everything that one position of the sliders shows.

    Attributes
    ----------
    then, today : Counts | None
        As the plan would have it, and as it is.
    warnings : Sequence[Warned]
        What to look at before publishing.
    """

    plan: Plan
    told: tuple[plan_words.Story, ...]
    then: gauge_words.Counts
    today: gauge_words.Counts | None
    warnings: Sequence[gauge_words.Warned]
    is_single_person: bool


def bench(params: Params) -> Bench:
    """The plan of these parameters and what is said about it; those of other moments are let go."""
    library, moment = f"{_library()} ", _moment(_library(), session.view().version)
    _benches().forget(lambda key: key.startswith(library) and not key.startswith(moment))
    return _benches().get(*_asked(params))


def look_ahead(params: Params, epsilons: Sequence[float]) -> None:
    """Make what the sliders' next steps would show; `epsilons` are those of the one for strictness."""
    n_faces = len(session.view().faces)
    samples = min_samples_choices(params, n_faces)
    at = samples.index(params.min_samples)
    steps: list[dict[str, Any]] = [{"epsilon": epsilon} for epsilon in epsilons]
    steps += [{"min_cluster_size": params.min_cluster_size + d} for d in (1, -1) if params.min_cluster_size + d > 1]
    steps += [{"min_samples": samples[x]} for x in (at + 1, at - 1) if 0 <= x < len(samples)]
    if crops.is_served():  # else no server is running, and nobody looks
        _benches().ahead([_asked(replace(params, **step)) for step in steps])


def forget() -> None:
    """Let go of all plans: somebody was erased, and they hold the faces as they were."""
    _benches.clear()
    _spans.clear()


def _asked(params: Params) -> tuple[str, Callable[[], Bench]]:
    """Under what the result of these parameters is kept, and how it is made."""
    service, library = session.service(), _library()
    version = service.view().version
    return f"{_moment(library, version)}{params}", partial(_bench, service, library, version, params)


def _moment(library: str, version: str) -> str:
    """How the keys of a library at one moment begin."""
    return f"{library} {version} "


def changes(params: Params) -> NDArray[np.float64]:
    """Values of epsilon at which the partition changes."""
    return _span_facts(session.service(), _library(), params)[0]


def meeting(params: Params) -> Meeting | None:
    """Where the first two named people would meet."""
    return _span_facts(session.service(), _library(), params)[1]


def _library() -> str:
    s = session.settings()
    return f"{s.library}|{s.user}"


@st.cache_resource(show_spinner=False)
def _benches() -> Kept[Bench]:
    return Kept(_KEPT)


@st.cache_resource(show_spinner=False)
def _spans() -> Kept[tuple[NDArray[np.float64], Meeting | None]]:
    return Kept(4 * _KEPT)


def _bench(service: Service, library: str, version: str, params: Params) -> Bench:
    with service.held() as view:
        if view.version != version:
            raise StaleWriteError("The library was changed meanwhile. Nothing was compared with it as it was before.")
        _span_facts(service, library, params)
        with _turn:
            return _reckoned(service, view, params)


def _reckoned(service: Service, view: View, params: Params) -> Bench:
    plan = service.plan(params)
    told = tuple(plan_words.stories(plan, view))
    then, today = gauge_words.plan_counts(plan, view), gauge_words.live_counts(view)
    clusters = service.extracted(params)[1]
    base = None
    if params.epsilon > 0 and params.method != "cut":
        strict = replace(params, epsilon=0.0)
        alone = service.extracted(strict)[1].labels
        # As dear as the plan itself, so it is made where it may matter: where two people of one photo are joined,
        # or somebody is far larger than any cluster without epsilon.
        usual = int(np.bincount(alone[alone >= 0]).max(initial=0))
        if not np.array_equal(clusters.labels, alone) and (then.impossible_pairs or then.largest >= 1.5 * usual):
            base = gauge_words.plan_counts(service.plan(strict), view)
    warnings = gauge_words.warnings(then, today, base)
    return Bench(plan, told, then, today, warnings, clusters.is_single_cluster_fallback)


def _span_facts(service: Service, library: str, params: Params) -> tuple[NDArray[np.float64], Meeting | None]:
    def make() -> tuple[NDArray[np.float64], Meeting | None]:
        found = service.epsilon_changes(params)
        return found, first_meeting(service, params, found)

    view = service.view()
    # Whether somebody has a name counts here, and not which.
    named = sha256(view.state.is_named.tobytes()).hexdigest()
    return _spans().get(f"{library} {view.version_but_names} {named} {replace(params, epsilon=0.0)}", make)


# --- faces and questions -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What a curator needs to answer a question.

    Attributes
    ----------
    sides : tuple[tuple[str, Rows, int], ...]
        For each side its name, some face rows, and how many there are.
    words : str
        What speaks for or against.
    yes, no : str
        What the buttons say: what they write, and how much.
    """

    sides: tuple[tuple[str, NDArray[np.int64], int], ...]
    words: str
    yes: str
    no: str


def of_rows(rows: NDArray[np.integer[Any]] | Sequence[int], size: int) -> list[bytes | str]:
    """Pictures of some face rows."""
    ids = session.view().faces.ids
    return pictures.of_faces((ids[int(row)] for row in rows), size)


def open_questions() -> list[Question]:
    """What can be answered now: questions of the live run that nobody has answered."""
    view = session.view()
    keep = [q for q in (view.snapshot.run.questions if view.snapshot.run is not None else ()) if q.kind == "keep"]
    return [*view.state.questions, *(q for q in keep if q.person in view.number and len(_loose(view, q.person)))]


def later_questions(plan: Plan, asked: Sequence[Question]) -> list[str]:
    """Questions that come with publishing."""
    known = {question.id for question in asked}
    view = session.view()
    return [plan_words.question_words(q, view) for q in plan.questions if q.id not in known]


def evidence(question: Question) -> Evidence:
    """The faces of both sides, and what speaks for or against."""
    view = session.view()
    name = view.person(question.person).name
    mine = view.rows(question.person)
    if question.other is None:
        loose = _loose(view, question.person)
        kept = np.setdiff1d(mine, loose)
        n = widgets.faces(len(loose))
        return Evidence(
            ((name, _some(view, kept), len(kept)), ("In question", _some(view, loose), len(loose))),
            "The last run put these faces nowhere.",
            f"Yes, confirm {n}",
            f"No, {n} become nobody's",
        )
    theirs = view.rows(question.other)
    other = view.person(question.other).name
    photos = view.faces.photo_number
    n_shared = int((np.intersect1d(photos[mine], photos[theirs]) >= 0).sum())
    centres = [np.asarray(view.faces.vectors[rows], np.float64).mean(axis=0) for rows in (mine, theirs)]
    lengths = [float(np.linalg.norm(centre)) for centre in centres]
    alike = float(centres[0] @ centres[1]) / max(lengths[0] * lengths[1], 1e-9)
    together = f"Together in {widgets.plural(n_shared, 'photo', 'photos')}, so hardly one person"
    words = widgets.alike(math.sqrt(max(2 - 2 * alike, 0.0)), alike) + " between their averages"
    sides = [(name, _some(view, mine), len(mine)), (other, _some(view, theirs), len(theirs))]
    return Evidence(
        tuple(sorted(sides, key=lambda side: not side[0])),
        f"{together if n_shared else 'Never in one photo'} · {words}",
        f"Yes, make them one person of {widgets.faces(len(mine) + len(theirs))}",
        "No, keep them apart",
    )


def impossible(plan: Plan, most: int = 12) -> list[tuple[str, NDArray[np.int32]]]:
    """Impossible pairs of a plan: whose they would be, and the two face rows."""
    view = session.view()
    pairs = impossible_pair_rows(plan.after, view.faces.photo_number)
    words = [plan.lines.names[int(plan.after[a])] or "An unnamed person" for a, _ in pairs[:most]]
    found = [
        (f"{who}, twice in photo {view.faces.photo[int(a)]}", pair)
        for who, pair, (a, _) in zip(words, pairs, pairs.tolist(), strict=False)
    ]
    return found


def _loose(view: View, person: PersonId) -> NDArray[np.int64]:
    """Faces that a person kept although the live run put them nowhere, and that nobody confirmed."""
    rows = view.rows(person)
    return rows[(view.label[rows] < 0) & (view.state.pin[rows] < 0)]


def _some(view: View, rows: NDArray[np.int64], most: int = 4) -> NDArray[np.int64]:
    """The most certain ones."""
    return rows[np.argsort(-view.strength[rows], kind="stable")][:most]


def rebuilding() -> dict[str, object]:
    """Arguments of the work that leaves set-aside faces out of the saved hierarchies."""
    run, defaults = session.view().snapshot.run, session.service().defaults
    params = {**asdict(defaults), **(run.params if run is not None else {})}
    return {"blur_threshold": params["blur_threshold"], "min_samples": [params["min_samples"]], "rebuild": True}
