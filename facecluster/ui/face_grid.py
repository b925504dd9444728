"""The face grid: people or faces as a list of which the browser draws what is in sight.

What is shown goes to the browser in three parts, and Streamlit sends only parts that changed: the list itself, which of
it in which order, and what changed since the list was made. A rename is a few hundred bytes, however long the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal

import streamlit as st

from facecluster.model import FaceId
from facecluster.ui import crops, session
from facecluster.view import View

# Rows that may differ from the list before it is made anew.
_MOST_CHANGED = 100


def _read(*names: str) -> str:
    return "\n".join(files("facecluster.ui").joinpath(name).read_text("utf-8") for name in names)


_grid = st.components.v2.component(
    "facecluster_grid",
    css=_read("face_grid.css"),
    js=_read("face_grid.js", "face_grid_names.js", "face_grid_drag.js"),
)
# Hands one part over to the grid of the same key, whichever of them is there first.
_part = st.components.v2.component(
    "facecluster_grid_part",
    js="""
export default function ({ data }) {
  (window.faceclusterParts ??= {})[`${data.key} ${data.part}`] = data.value;
  window.dispatchEvent(new CustomEvent("facecluster-part", { detail: data.key }));
}
""",
)


@dataclass(frozen=True)
class Row:
    """One tile: what it stands for, its name, the grey line below, whose picture, how many faces, whether hidden."""

    id: str
    name: str
    line: str
    face: FaceId | None
    n_faces: int = 1
    is_hidden: bool = False


@dataclass(frozen=True)
class Target:
    """A person onto whom faces can be dropped."""

    id: str
    name: str
    face: FaceId | None


@dataclass(frozen=True)
class Deeds:
    """What the page does about what happened in the grid.

    Attributes
    ----------
    open : Callable[[str], None]
        A tile was clicked: its id.
    rename : Callable[[str, str, str], None] | None
        A name was typed: id, name, and the name that was seen. None for tiles without names.
    drop : Callable[[Sequence[str], str], None] | None
        Tiles were dropped: their ids, and on whom.
    """

    open: Callable[[str], None]
    rename: Callable[[str, str, str], None] | None = None
    drop: Callable[[Sequence[str], str], None] | None = None


@dataclass(frozen=True)
class _List:
    """The list as the browser has it, and the rows it was made of."""

    rows: tuple[Row, ...]
    shape: int
    data: Mapping[str, Any]
    place: Mapping[str, int]


@dataclass
class _Heard:
    """What one session's browser has told about one grid."""

    mount: str = ""
    done: int = 0
    turn: int = 0
    spec: str = ""
    order: list[int] | None = None
    list: _List | None = field(default=None, repr=False)


def show(
    key: str,
    rows: Sequence[Row],
    shown: Sequence[str] | None,
    deeds: Deeds,
    *,
    label: str,
    kind: Literal["people", "faces"] = "people",
    spec: str = "",
    targets: Sequence[Target] = (),
) -> None:
    """Draw the grid.

    Parameters
    ----------
    key : str
        Names the grid and its selection (`session.selected`).
    rows : Sequence[Row]
        Everything that may be shown, in the usual order.
    shown : Sequence[str] | None
        Ids of what is shown, in their order; None for all of it. While `spec` stays the same, nothing that is shown
        goes away or moves because it was named.
    label : str
        What the grid is called for who does not see it.
    spec : str
        What was asked for: search, order and filters as one text. Another one scrolls to the top.
    targets : Sequence[Target]
        People onto whom faces can be dropped.
    """
    heard = _heard(key)
    view = session.view()
    held = heard.list = _listed(heard.list, view, tuple(rows), label, kind, deeds.rename is not None, targets)
    order = _ordered(heard, held, shown, spec)
    changed = {row.id: [row.name, row.line] for row in rows if row != held.rows[held.place[row.id]]}
    turn = session.generation(key)
    now = {
        "changed": changed,
        "mount": heard.mount,
        "done": heard.done,
        "selected": session.selected(key),
        "turn": turn,
        "isEcho": turn == heard.turn,  # the selection is what the browser said last, and it may be further on by now
    }
    _grid(
        key=f"{key}-grid",
        data={**held.data, "key": key},
        default={"selected": []},
        on_acts_change=lambda: _acted(key, deeds),
        on_selected_change=lambda: _selected(key),
    )
    version = held.data["version"]
    _part(key=f"{key}-order", data=_value(key, "order", {"version": version, "spec": spec, "rows": order}))
    _part(key=f"{key}-now", data=_value(key, "now", now))


def _value(key: str, part: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": key, "part": part, "value": value}


def _heard(key: str) -> _Heard:
    found = session.recall(f"grid-{key}")
    if isinstance(found, _Heard):
        return found
    made = _Heard()
    session.remember(f"grid-{key}", made)
    return made


def _listed(
    held: _List | None,
    view: View,
    rows: tuple[Row, ...],
    label: str,
    kind: str,
    is_named: bool,
    targets: Sequence[Target],
) -> _List:
    """The list there is, while the same tiles stand in it in the same order and few of them changed; else a new one."""
    base = crops.base_of(session.service(), view.faces)
    tiles = tuple((row.id, row.face, row.is_hidden) for row in rows)
    shape = hash((base, label, kind, is_named, tuple(targets), tiles))
    if held is not None and held.shape == shape and _n_changed(held.rows, rows) <= _MOST_CHANGED:
        return held
    hosts = session.settings().image_hosts
    data = {
        "ids": [row.id for row in rows],
        "names": [row.name for row in rows] if is_named else [],
        "lines": [row.line for row in rows],
        "counts": [row.n_faces for row in rows],
        "pictures": [crops.name_of(view, row.face, hosts) for row in rows],
        "targets": [{"id": t.id, "name": t.name, "picture": crops.name_of(view, t.face, hosts)} for t in targets],
        "base": base,
        "sizes": list(crops.SIZES),
        "label": label,
        "kind": kind,
        "isNamed": is_named,
    }
    version = sha256(repr(data).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    place = {row.id: i for i, row in enumerate(rows)}
    return _List(rows, shape, {**data, "version": version}, place)


def _n_changed(before: Sequence[Row], now: Sequence[Row]) -> int:
    return sum(one != other for one, other in zip(before, now, strict=True))


def _ordered(heard: _Heard, held: _List, shown: Sequence[str] | None, spec: str) -> list[int] | None:
    """Places in the list of what is shown; those of before while nothing else was asked for."""
    asked = f"{held.data['version']} {spec}"
    if heard.spec != asked:
        heard.spec = asked
        heard.order = None if shown is None else [held.place[one] for one in shown]
    return heard.order


def _acted(key: str, deeds: Deeds) -> None:
    """Do what the browser asks for, each act once; several may come together, and one may come twice.

    Streamlit breaks off a run, in the middle of a callback too, when the browser has something newer to say. So an act
    counts as done when it is over; until then the browser keeps it and sends it again.
    """
    heard = _heard(key)
    for act in session.told_by(f"{key}-grid", "acts"):
        if act["mount"] != heard.mount:
            heard.mount, heard.done = act["mount"], 0
        if act["n"] <= heard.done:
            continue
        try:
            _do(act, deeds)
        except Exception:  # a bug keeps its traceback, and is not asked for again
            heard.done = act["n"]
            raise
        heard.done = act["n"]


def _do(act: Mapping[str, Any], deeds: Deeds) -> None:
    if act["kind"] == "open":
        deeds.open(act["id"])
    elif act["kind"] == "rename" and deeds.rename is not None:
        deeds.rename(act["id"], act["name"], act["seen"])
    elif act["kind"] == "drop" and deeds.drop is not None:
        deeds.drop(act["ids"], act["onto"])


def _selected(key: str) -> None:
    """Follow the selection in the browser, whose it is; it hears of it again only where a page changes it."""
    session.select(key, session.told_by(f"{key}-grid", "selected"))
    _heard(key).turn = session.generation(key)
