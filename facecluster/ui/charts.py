"""Figures: the map of faces with what is drawn on it, and the map of settings. The only file that knows plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from zlib import crc32

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from facecluster.model import PersonId
from facecluster.suggest import Cell, Mask, StabilityMap
from facecluster.ui import session
from facecluster.view import PersonCard, View

# plotly re-tests every drawn point at each move of a lasso: past some 20,000 it stops feeling live.
MOST_DRAWN = 15_000
LEAST_PER_PERSON = 8  # a small person must not vanish where only some faces are drawn
N_LABELS = 12
HEIGHT = 620  # pixels
_LONGEST_LABEL = 24
SETTINGS_HEIGHT = 190
_FONT = '"Source Sans", sans-serif'
_MANY_MOVE = 0.4  # a share of the faces: from here on the map of settings is darkest

# Nothing leaves this machine: plotly's own defaults show a button that sends the figure to a server.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displayModeBar": True,
    "scrollZoom": True,
    "modeBarButtons": [["lasso2d", "select2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
}

STILL: dict[str, Any] = {**CONFIG, "displayModeBar": False, "scrollZoom": False, "doubleClick": False}


@dataclass(frozen=True)
class _Ink:
    """Colours of one mode: those of the theme, which plotly cannot read. `hues` are its chartCategoricalColors."""

    paper: str
    card: str
    text: str
    muted: str
    noise: str
    hues: tuple[str, ...]
    heat: tuple[str, ...]  # from "the same people come out" to "many change"
    wrong: str
    accent: str


_LIGHT = _Ink(
    "#fbfaf8", "#ffffff", "#24211d", "#6b665e", "#cbc3b7",
    ("#7a93ba", "#b98a70", "#84a58a", "#b07f9c", "#bd9f5b", "#6c9fa3",
     "#9a87b6", "#a39d6e", "#c08583", "#7e90a1", "#8fa569", "#b39882"),
    ("#f1ece3", "#e3d8c6", "#d4c3a8", "#bfa47d"), "#a8342a", "#34568f",
)  # fmt: skip
_DARK = _Ink(
    "#161513", "#1f1d1b", "#ece8e1", "#a39c92", "#4c4740",
    ("#8ba3c9", "#c59a82", "#93b299", "#bd8fab", "#c6aa6b", "#7fb0b4",
     "#a998c3", "#b0aa7d", "#cb9592", "#8f9fb0", "#9cb279", "#bea591"),
    ("#26231f", "#3a332a", "#5c4c38", "#8b6d48"), "#e8847a", "#9db8ee",
)  # fmt: skip


@dataclass(frozen=True)
class FaceMap:
    """Faces on the map. `row` (n,) in the library, `xy` (n, 2) places, `owner` (n,) person number or -1."""

    row: NDArray[np.int64]
    xy: NDArray[np.float32]
    owner: NDArray[np.int32]

    @classmethod
    def of(cls, view: View, row: NDArray[np.int64], xy: NDArray[np.float32]) -> FaceMap:
        """The map of a library as it is now, without faces that were set aside."""
        shown = ~view.state.is_masked[row]
        return cls(row[shown], xy[shown], view.state.owner[row[shown]])

    def __len__(self) -> int:
        return len(self.row)


def is_on_map(view: View, row: NDArray[np.int64], person: PersonId) -> bool:
    """Whether any face of a person is among the rows of a map."""
    return bool(np.isin(view.rows(person), row).any())


def inside(xy: NDArray[np.floating[Any]], corners_x: Sequence[float], corners_y: Sequence[float]) -> NDArray[np.bool_]:
    """Whether points, shape (n, 2), lie inside a polygon, by the even-odd rule; one edge at a time over all points."""
    x, y = np.asarray(xy[:, 0], np.float64), np.asarray(xy[:, 1], np.float64)
    found = np.zeros(len(xy), np.bool_)
    corners = list(zip(corners_x, corners_y, strict=True))
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        if ay != by:
            crosses = (ay > y) != (by > y)
            found ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return found


def enclosed(selection: Mapping[str, Any], xy: NDArray[np.float32]) -> NDArray[np.int64]:
    """Points inside what was drawn, also those that are not drawn themselves; a click takes the point that was hit.

    `selection` is what Streamlit tells of it: lists of `lasso`, `box` and `points`, in the units of the map.
    """
    shapes = [*selection.get("lasso", ()), *selection.get("box", ())]
    found = np.zeros(len(xy), np.bool_)
    for shape in shapes:
        x, y = list(shape["x"]), list(shape["y"])
        if len(x) == 2:  # a box tells two opposite corners
            x, y = [x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]]
        found |= inside(xy, x, y)
    if not shapes and len(xy):
        for point in selection.get("points", ()):
            away = (np.asarray(xy, np.float64) - (point["x"], point["y"])) ** 2
            found[int(away.sum(axis=1).argmin())] = True
    return np.flatnonzero(found)


def drawn(owner: NDArray[np.int32], most: int = MOST_DRAWN, least: int = LEAST_PER_PERSON) -> NDArray[np.int64]:
    """Which of many points are drawn: evenly spread, at least some of everybody, ascending and the same each time."""
    n = len(owner)
    if n <= most:
        return np.arange(n)
    shuffled = np.random.default_rng(0).permutation(n)
    # How manyeth of its owner each point is, in the shuffled order.
    order = shuffled[np.argsort(owner[shuffled], kind="stable")]
    first = np.searchsorted(owner[order], owner[order], side="left")
    nth = np.empty(n, np.int64)
    nth[order] = np.arange(n) - first
    is_first = (owner >= 0) & (nth < least)
    ranked = np.concatenate([shuffled[is_first[shuffled]], shuffled[~is_first[shuffled]]])
    return np.sort(ranked[:most])


def hues(people: Sequence[PersonId], centres: NDArray[np.float64], n_hues: int = 12, near: int = 6) -> NDArray[np.int8]:
    """A hue for each person, by id and thus the same each time, but never that of one of the nearest on the map.

    `people`, with `centres` of shape (n, 2), come in the order in which they choose.
    """
    found = np.zeros(len(people), np.int8)
    for i, person in enumerate(people):
        away = ((centres[:i] - centres[i]) ** 2).sum(axis=1)
        closest = np.argpartition(away, near)[:near] if i > near else np.arange(i)
        taken = set(found[closest].tolist())
        wanted = crc32(person.encode())
        found[i] = next(hue % n_hues for hue in range(wanted, wanted + n_hues) if hue % n_hues not in taken)
    return found


@st.cache_resource(show_spinner=False, max_entries=8)
def people_map(_view: View, _points: FaceMap, key: str, is_dark: bool, chosen: PersonId | None = None) -> go.Figure:
    """The figure of the map; `key` stands for the view and its points. `chosen` is brought near, all others fade."""
    del key
    view, points, ink = _view, _points, _DARK if is_dark else _LIGHT
    some = drawn(points.owner)
    number = view.number.get(chosen, -1) if chosen is not None else -1
    if number >= 0:
        some = np.union1d(some, np.flatnonzero(points.owner == number))
    owner = points.owner[some]
    figure = go.Figure(layout=_layout(ink))
    loose = some[owner < 0]
    figure.add_trace(_dots(view, points, loose, {"color": ink.noise, "size": 3.5}, 0.25 if number >= 0 else 0.8))
    owned = some[(owner >= 0) & (owner != number)]
    hue = _hue_of_owner(view, points)
    scale = [[i / (len(ink.hues) - 1), colour] for i, colour in enumerate(ink.hues)]
    marker = {"color": hue[points.owner[owned]], "colorscale": scale, "cmin": 0, "cmax": len(ink.hues) - 1, "size": 5}
    figure.add_trace(_dots(view, points, owned, marker, 0.12 if number >= 0 else 0.9))
    if number >= 0:
        theirs = some[owner == number]
        colour = ink.hues[int(hue[number])]
        ring = {"color": colour, "size": 9, "line": {"color": ink.text, "width": 1}}
        figure.add_trace(_dots(view, points, theirs, ring, 1.0))
        _bring_near(figure, points.xy[points.owner == number])
    for card in _labelled(view, chosen):
        _label(figure, card, points.xy[points.owner == view.number[card.id]], ink)
    return figure


def _hue_of_owner(view: View, points: FaceMap) -> NDArray[np.int8]:
    """Shape (n_people,): the hue of each person number; 0 for those without a point."""
    sizes = np.bincount(points.owner[points.owner >= 0], minlength=len(view.state.people))
    present = np.flatnonzero(sizes)
    present = present[np.lexsort((present, -sizes[present]))]
    is_owned = points.owner >= 0
    sums = np.stack(
        [np.bincount(points.owner[is_owned], points.xy[is_owned, axis], len(sizes)) for axis in (0, 1)], axis=1
    )
    found = np.zeros(len(sizes), np.int8)
    found[present] = hues([view.state.people[p] for p in present], sums[present] / sizes[present, None])
    return found


def _labelled(view: View, chosen: PersonId | None) -> list[PersonCard]:
    """Whose names stand on the map: the largest named people, or the largest of all where nobody is named yet."""
    cards = [card for card in view.cards if card.n_faces and not card.is_hidden]
    named = [card for card in cards if card.name]
    if chosen is not None and chosen in view.card_of:
        return [view.card_of[chosen]]
    return (named or cards)[:N_LABELS]


def _label(figure: go.Figure, card: PersonCard, xy: NDArray[np.float32], ink: _Ink) -> None:
    if not len(xy):
        return
    text = card.name or f"{card.n_faces:,} faces"
    if len(text) > _LONGEST_LABEL:
        text = text[: _LONGEST_LABEL - 1] + "…"
    most = _core(xy)
    figure.add_annotation(
        x=float(np.median(most[:, 0])),
        y=float(most[:, 1].max()),
        yanchor="bottom",
        yshift=3,
        text=escape(text, quote=False),
        showarrow=False,
        bgcolor=_faint(ink.paper),
        borderpad=0,
        font={"size": 12.5, "color": ink.text if card.name else ink.muted},
    )


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.72)"


def _dots(
    view: View, points: FaceMap, at: NDArray[np.int64], marker: Mapping[str, Any], opacity: float
) -> go.Scattergl:
    return go.Scattergl(
        x=points.xy[at, 0],
        y=points.xy[at, 1],
        mode="markers",
        marker={**marker, "opacity": opacity},
        hovertext=[_told(view, int(row)) for row in points.row[at]],
        hovertemplate="%{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": min(opacity, 0.25)}},
    )


def _told(view: View, row: int) -> str:
    """What hovering says: who, where from, which face; all of it data, none of it markup."""
    faces, owner = view.faces, int(view.state.owner[row])
    person = view.card_of.get(view.state.people[owner]) if owner >= 0 else None
    who = (person.name or f"Unnamed, {person.n_faces:,} faces") if person is not None else "In nobody"
    origin = "/".join(part for part in (faces.folder[row], faces.photo[row]) if part)
    told = [f"<b>{escape(_short(who), quote=False)}</b>"]
    return "<br>".join([*told, *(escape(_short(part), quote=False) for part in (origin, faces.ids[row]) if part)])


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def _core(xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nine tenths of some points that are nearest to their middle: a stray face must not set the frame."""
    away = ((xy - np.median(xy, axis=0)) ** 2).sum(axis=1)
    return np.asarray(xy[away <= np.quantile(away, 0.9)])


def _bring_near(figure: go.Figure, xy: NDArray[np.float32]) -> None:
    """Show where most of some points are, with room around them."""
    if not len(xy):
        return
    low, high = _core(xy).min(axis=0), _core(xy).max(axis=0)
    half = max(float((high - low).max()) * 1.3, 0.6)
    middle = (low + high) / 2
    figure.update_xaxes(range=[float(middle[0]) - half, float(middle[0]) + half])
    figure.update_yaxes(range=[float(middle[1]) - half, float(middle[1]) + half])


def _layout(ink: _Ink) -> dict[str, Any]:
    axis = {"visible": False, "fixedrange": False}
    return {
        "height": HEIGHT,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "showlegend": False,
        "dragmode": "lasso",
        "hovermode": "closest",
        "xaxis": axis,
        "yaxis": {**axis, "scaleanchor": "x", "scaleratio": 1},
        "font": {"family": _FONT, "color": ink.text},
        "hoverlabel": {
            "bgcolor": ink.card,
            "bordercolor": ink.noise,
            "font": {"color": ink.text, "size": 13, "family": _FONT},
        },
        "newselection": {"line": {"color": ink.text, "width": 1.5, "dash": "dot"}},
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": ink.muted, "activecolor": ink.text},
    }


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
        **_layout(ink),
        "height": SETTINGS_HEIGHT,
        "margin": {"l": 48, "r": 2, "t": 4, "b": 40},
        "dragmode": False,
        "hoverlabel": {**_layout(ink)["hoverlabel"], "align": "left"},
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


def take_drawn(chart: str, scope: str) -> None:
    """Select the faces inside what was drawn on the map, as the chart's callback; a double click takes it away."""
    view, selection = session.view(), session.drawn_on(chart)
    points = FaceMap.of(view, *session.service().map())
    faces = [view.faces.ids[row] for row in points.row[enclosed(selection, points.xy)]]
    session.remember(f"drawn-{scope}", faces if any(selection.values()) else None)
    session.select(scope, faces)
