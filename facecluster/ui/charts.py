"""The map of settings, drawn by plotly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from facecluster.suggest import Cell, Mask, StabilityMap

SETTINGS_HEIGHT = 190
_FONT = '"Source Sans", sans-serif'
_MANY_MOVE = 0.4  # a share of the faces: from here on the map of settings is darkest

# Nothing leaves this machine: plotly's own defaults show a button that sends the figure to a server.
STILL: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displayModeBar": False,
    "scrollZoom": False,
    "doubleClick": False,
}


@dataclass(frozen=True)
class _Ink:
    """Colours of one mode: those of the theme, which plotly cannot read."""

    paper: str
    card: str
    text: str
    muted: str
    edge: str
    heat: tuple[str, ...]  # from "the same people come out" to "many change"
    wrong: str
    accent: str


_LIGHT = _Ink(
    "#fbfaf8", "#ffffff", "#24211d", "#6b665e", "#cbc3b7",
    ("#f1ece3", "#e3d8c6", "#d4c3a8", "#bfa47d"), "#a8342a", "#34568f",
)  # fmt: skip
_DARK = _Ink(
    "#161513", "#1f1d1b", "#ece8e1", "#a39c92", "#4c4740",
    ("#26231f", "#3a332a", "#5c4c38", "#8b6d48"), "#e8847a", "#9db8ee",
)  # fmt: skip


def settings_map(
    stability: StabilityMap,
    told: NDArray[np.object_],
    plateau: Mask,
    here: Cell | None,
    there: Cell | None,
    is_dark: bool,
) -> go.Figure:
    """The map of settings: one field for each min_samples, epsilon to the right and the minimum size upwards in it.

    Parameters
    ----------
    told : NDArray[np.object_]
        Shape of the map: what hovering over a setting says.
    plateau : Mask
        Framed.
    here, there : Cell or None
        Where one is (a disc), and what is suggested (a diamond).
    """
    ink = _DARK if is_dark else _LIGHT
    n_fields, n_sizes, n_epsilons = stability.shape
    wide = n_epsilons + 1  # a column between two fields stays free
    shown = np.full((n_sizes, n_fields * wide - 1), np.nan)
    text = np.full(shown.shape, "", object)
    for field in range(n_fields):
        columns = slice(field * wide, field * wide + n_epsilons)
        shown[:, columns] = np.where(stability.is_empty[field], np.nan, stability.moved[field])
        text[:, columns] = told[field]
    figure = go.Figure(layout=_settings_layout(stability, wide, ink))
    scale = [[i / (len(ink.heat) - 1), colour] for i, colour in enumerate(ink.heat)]
    figure.add_trace(
        go.Heatmap(
            z=shown,
            text=text,
            hovertemplate="%{text}<extra></extra>",
            colorscale=scale,
            zmin=0,
            zmax=_MANY_MOVE,
            showscale=False,
            xgap=1,
            ygap=1,
            hoverongaps=False,
        )
    )
    figure.add_trace(_struck(~stability.is_safe & ~stability.is_empty, wide, ink))
    figure.add_trace(_frame(plateau, wide, ink))
    for cell, marker in (
        (there, {"symbol": "diamond-open", "size": 13, "color": ink.text, "line": {"width": 1.6}}),
        (here, {"symbol": "circle", "size": 9, "color": ink.accent, "line": {"color": ink.paper, "width": 1.5}}),
    ):
        figure.add_trace(_on_settings(np.array([cell] if cell else [], np.int64).reshape(-1, 3), wide, marker=marker))
    return figure


def _on_settings(cells: NDArray[np.int64], wide: int, **how: Any) -> go.Scatter:
    return go.Scatter(
        x=cells[:, 0] * wide + cells[:, 2], y=cells[:, 1], mode="markers", hoverinfo="skip", cliponaxis=False, **how
    )


def _struck(mask: Mask, wide: int, ink: _Ink) -> go.Scatter:
    """A line through each run of some settings."""
    x: list[float | None] = []
    y: list[float | None] = []
    edges = np.diff(np.pad(mask, ((0, 0), (0, 0), (1, 1))).astype(np.int8), axis=2)
    for start, end in zip(np.argwhere(edges == 1).tolist(), np.argwhere(edges == -1).tolist(), strict=True):
        x += [start[0] * wide + start[2] - 0.4, start[0] * wide + end[2] - 0.6, None]
        y += [start[1], start[1], None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": ink.wrong, "width": 1}, opacity=0.6, hoverinfo="skip")


def _frame(mask: Mask, wide: int, ink: _Ink) -> go.Scatter:
    """The line around some settings: every side between one that belongs and one that does not."""
    x: list[float | None] = []
    y: list[float | None] = []
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    for field, b, c in np.argwhere(padded).tolist():
        middle_x, middle_y = field * wide + c - 1, b - 1
        for up, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if not padded[field, b + up, c + right]:
                at_x, at_y = middle_x + right / 2, middle_y + up / 2
                x += [at_x - abs(up) / 2, at_x + abs(up) / 2, None]
                y += [at_y - abs(right) / 2, at_y + abs(right) / 2, None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": ink.text, "width": 1.2}, hoverinfo="skip")


def _settings_layout(stability: StabilityMap, wide: int, ink: _Ink) -> dict[str, Any]:
    n_fields, n_sizes, n_epsilons = stability.shape
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": "", "showline": False}
    font = {"size": 12, "color": ink.muted}
    rows = (0, n_sizes - 1) if n_sizes > 1 else (0,)
    return {
        "height": SETTINGS_HEIGHT,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "showlegend": False,
        "hovermode": "closest",
        "font": {"family": _FONT, "color": ink.text},
        "margin": {"l": 48, "r": 2, "t": 4, "b": 40},
        "dragmode": False,
        "hoverlabel": {
            "align": "left",
            "bgcolor": ink.card,
            "bordercolor": ink.edge,
            "font": {"color": ink.text, "size": 13, "family": _FONT},
        },
        "xaxis": {
            **axis,
            "range": [-0.6, n_fields * wide - 1.4],
            "tickvals": [field * wide + (n_epsilons - 1) / 2 for field in range(n_fields)],
            "ticktext": [str(k) for k in stability.min_samples],
            "tickfont": font,
            "title": {"text": "neighbours that make a face dense", "font": font, "standoff": 2},
        },
        "yaxis": {
            **axis,
            "range": [-0.6, n_sizes - 0.4],
            "tickvals": list(rows),
            "ticktext": [f"{stability.sizes[row]} faces\u2002" for row in rows],
            "tickfont": font,
        },
    }
