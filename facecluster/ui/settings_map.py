"""The map of settings as a picture that is clicked: a component, what it is told, and what it tells back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from facecluster.suggest import STABLE, Cell, Setting, StabilityMap, Suggestion
from facecluster.ui import session
from facecluster.ui.widgets import plural

# Shares of the faces that a step moves: from each on, a cell is a shade darker.
_SHADES = (0.02, STABLE, 2 * STABLE, 4 * STABLE)

_FOLDER = files("facecluster.ui")
_map = st.components.v2.component(
    "facecluster_settings_map",
    css=_FOLDER.joinpath("settings_map.css").read_text("utf-8"),
    js=_FOLDER.joinpath("settings_map.js").read_text("utf-8"),
)
# Where the sliders are: apart from the map, which Streamlit then leaves as it is.
_here = st.components.v2.component(
    "facecluster_settings_here",
    js="""
export default function ({ data }) {
  (window.faceclusterSettings ??= {})[data.key] = data;
  window.dispatchEvent(new CustomEvent("facecluster-settings"));
}
""",
)


def show(
    key: str,
    drawing: Mapping[str, Any],
    stability: StabilityMap,
    here: Cell | None,
    there: Cell | None,
    label: str,
    choose: Callable[[Setting], None],
) -> None:
    """Draw the map.

    Parameters
    ----------
    drawing : Mapping[str, Any]
        As `drawn` gives it.
    here, there : Cell or None
        Where the sliders are (a disc), and what is suggested (a diamond).
    label : str
        What the map is called, and says, for who does not see it.
    choose : Callable[[Setting], None]
        A cell was chosen.
    """

    def chosen() -> None:
        said = session.told_as(key, "chosen")
        if said is not None and said["version"] == drawing["version"]:
            a, b, c = said["cell"]
            choose(stability.setting((a, b, c)))

    _map(key=key, data={"key": key, **drawing}, on_chosen_change=chosen)
    _here(
        key=f"{key}-here",
        data={"key": key, "version": drawing["version"], "here": here, "there": there, "label": label},
    )


def drawn(stability: StabilityMap, found: Suggestion, told: NDArray[np.object_]) -> dict[str, Any]:
    """The map as the browser has it; `told` is of its shape: lines on each setting."""
    level = np.where(stability.is_empty, -1, np.digitize(stability.moved, _SHADES, right=True))
    wrong = ~stability.is_safe & ~stability.is_empty
    fields = [
        {
            "name": str(k),
            "label": f"{plural(k, 'neighbour', 'neighbours')}: {int(found.plateau[a].sum())} of {level[a].size} "
            "settings are in the safe zone",
            "heat": level[a].tolist(),
            "wrong": wrong[a].astype(int).tolist(),
            "safe": found.plateau[a].astype(int).tolist(),
            "told": told[a].tolist(),
        }
        for a, k in enumerate(stability.min_samples)
    ]
    data = {
        "fields": fields,
        "epsilons": list(stability.epsilons),
        "most": f"{stability.sizes[-1]} faces",
        "least": str(stability.sizes[0]),
        # The first column, for an epsilon that joins nobody, is not told: it is what "strict" means.
        "strict": "strict",
        "loose": f"{stability.epsilons[-1]:.2f}",
        "neighbours": "Neighbours that make a face dense",
    }
    version = sha256(repr(data).encode()).hexdigest()[:16]
    return {**data, "version": version}
