"""The map of settings on Tune in words: where one is, what the picture shows, what is suggested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from facecluster.hierarchies import Params
from facecluster.search import cosine
from facecluster.service import LIVE_MIN_SAMPLES, Service
from facecluster.suggest import STABLE, Cell, Setting, StabilityMap, Suggestion, suggest
from facecluster.ui import session, settings_map
from facecluster.ui.widgets import plural

# The map of this many faces takes about two seconds; of more, a worker makes it.
MOST_AT_ONCE = 100_000


@dataclass(frozen=True)
class Outlook:
    """What Tune shows of the map for one position of the sliders.

    Attributes
    ----------
    here : Cell or None
        Where the sliders are; None where their min_samples is not on the map.
    is_there : bool
        Whether the sliders are where the suggestion is.
    drawing : Mapping[str, Any]
        The map as the browser has it.
    """

    stability: StabilityMap
    found: Suggestion
    drawing: Mapping[str, Any]
    here: Cell | None
    is_there: bool


def is_at_hand(params: Params) -> bool:
    """Whether the map can be shown now: it is saved, or made in a moment."""
    service = session.service()
    return len(service.view().faces) <= MOST_AT_ONCE or service.has_stability(params)


def job(params: Params) -> dict[str, object]:
    """What the worker is told that makes the map."""
    return {"method": params.method, "blur_threshold": params.blur_threshold}


def outlook(params: Params) -> Outlook:
    """The map, and where the sliders are on it."""
    service = session.service()
    library = f"{service.settings.library}|{service.user}"
    stability, found, drawing = _made(service, f"{library}|{service.stability_address(params)}", params)
    is_known = params.min_samples in stability.min_samples
    return Outlook(
        stability,
        found,
        drawing,
        stability.cell(params.setting) if is_known else None,
        params.setting == found.setting,
    )


@st.cache_resource(show_spinner=False, max_entries=12)
def _made(_service: Service, key: str, _params: Params) -> tuple[StabilityMap, Suggestion, Mapping[str, Any]]:
    del key
    stability = _service.stability(_params)
    found = suggest(stability, _service.defaults.setting)
    return stability, found, settings_map.drawn(stability, found, _told(stability, found))


def setting_words(setting: Setting) -> str:
    """A setting as the sliders have it: "at least 3 faces, 3 neighbours, distance 0.35 (cosine 0.94)"."""
    near = plural(setting.min_samples, "neighbour", "neighbours")
    epsilon = setting.epsilon
    return f"at least {setting.min_cluster_size} faces, {near}, distance {epsilon:.3g} (cosine {cosine(epsilon):.2f})"


def here_words(shown: Outlook, params: Params) -> str:
    """Where one is on the map."""
    stability, here = shown.stability, shown.here
    if here is None:
        return f"{plural(params.min_samples, 'neighbour is', 'neighbours are')} not on this map."
    if stability.is_empty[here]:
        return "Here nobody is found."
    if shown.found.plateau[here]:
        return f"You are in the safe zone: a step of a slider moves {_share(stability.moved[here])} of the faces."
    wrong = _wrong(stability, here)
    if wrong:
        return f"Not safe: here {wrong}."
    if stability.moved[here] <= STABLE:
        return "Here little changes, but the zone is small."
    return f"Outside the safe zone: one step from here moves {_share(stability.moved[here])} of the faces."


def suggestion_words(shown: Outlook) -> str:
    """Why this is suggested."""
    found = shown.found
    if found.setting is None:
        return "Nothing is suggested: no setting on this map is both safe and steady."
    if shown.is_there:
        done = f"Set: {setting_words(found.setting)}. " if session.recall("adopted") == found.setting else ""
        return f"{done}You are at the suggested setting."
    if found.is_default:
        return "The usual setting lies in the safe zone, so there is no reason to leave it."
    return "The point of the safe zone that is nearest to the usual setting."


def legend_words(shown: Outlook) -> list[str]:
    """How to read the picture, and what it leaves out.

    The first column, for an epsilon that joins nobody, is not told: it is what "strict" means.
    """
    stability = shown.stability
    low, high = stability.epsilons[min(1, len(stability.epsilons) - 1)], stability.epsilons[-1]
    said = [
        "A click puts the sliders there. Faint: after a step the same people come out. Strong: many change. "
        "Framed: the safe zone. Struck out: people fall together, or stand in one photo twice.",
        f"From strict, left, to loose: distance {low:.2f} to {high:.2f}, "
        f"cosine {cosine(low):.2f} to {cosine(high):.2f}.",
    ]
    if not stability.knows_photos:
        said.append("No two faces are known to be in one photo, so photos cannot speak against a setting.")
    missing = [k for k in LIVE_MIN_SAMPLES if k not in stability.min_samples]
    if missing:
        said.append(f"Not prepared, so not shown: {_listed(missing)}.")
    return said


def alt_words(shown: Outlook, params: Params) -> str:
    """The picture for whoever cannot see it."""
    n = int(shown.found.plateau.sum())
    return (
        f"Map of {shown.stability.moved.size} settings, {n} of them in the safe zone. {here_words(shown, params)} "
        + (f"Suggested: {setting_words(shown.found.setting)}." if shown.found.setting else "")
    )


def _told(stability: StabilityMap, found: Suggestion) -> NDArray[np.object_]:
    """What is said of each setting, in lines."""
    told = np.full(stability.shape, None, object)
    for at in np.ndindex(stability.shape):
        a, b, c = at
        cell = (a, b, c)
        counts = stability.found
        epsilon = stability.epsilons[c]
        pairs = plural(int(counts.impossible_pairs[cell]), "impossible pair", "impossible pairs")
        lines = [
            f"{stability.sizes[b]} faces, {plural(stability.min_samples[a], 'neighbour', 'neighbours')}",
            f"distance {epsilon:.3g} · cosine {cosine(epsilon):.2f}",
            f"{plural(int(counts.people[cell]), 'person', 'people')}, the largest {int(counts.largest[cell]):,}",
            f"{_share(1 - float(counts.placed[cell]) / max(stability.n_faces, 1))} in nobody",
            f"{pairs if stability.knows_photos else 'no photo known'} · a step moves "
            f"{_share(float(stability.moved[cell]))}",
        ]
        wrong = _wrong(stability, cell)
        told[cell] = [*lines, *([wrong] if wrong else ["safe zone"] if found.plateau[cell] else [])]
    return told


def _wrong(stability: StabilityMap, cell: Cell) -> str:
    """What speaks against a setting, "" for nothing."""
    if stability.is_empty[cell]:
        return "nobody is found"
    said = [
        "fall together" if stability.is_collapsed[cell] else "",
        "stand in one photo twice" if stability.is_contradicted[cell] else "",
    ]
    said = [text for text in said if text]
    return f"people {' and '.join(said)}" if said else ""


def _share(value: float) -> str:
    """A share in whole per cents, but never none of some."""
    return "less than 1%" if 0 < value < 0.005 else f"{value:.0%}"


def _listed(samples: Sequence[int]) -> str:
    if len(samples) == 1:
        return plural(samples[0], "neighbour", "neighbours")
    return f"{', '.join(map(str, samples[:-1]))} and {samples[-1]} neighbours"
