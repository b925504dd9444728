"""The face grid: people or faces as a list of which the browser draws what is in sight.

What is shown goes to the browser in three parts, and Streamlit sends only parts that changed: the list itself, which of
it in which order, and what changed since the list was made. A rename is a few hundred bytes, however long the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal
from weakref import ReferenceType, ref

import streamlit as st

from facecluster.model import FaceSet
from facecluster.ui import crops, native_grid, session
from facecluster.ui.face_rows import Deeds as Deeds
from facecluster.ui.face_rows import Row as Row
from facecluster.ui.face_rows import Section as Section
from facecluster.ui.face_rows import Target as Target
from facecluster.view import View

# Rows that may differ from the list before it is made anew.
_MOST_CHANGED = 100
# Grids whose lists a session holds: each person's faces are one of their own.
_MOST_GRIDS = 8


def _read(*names: str) -> str:
    return "\n".join(files("facecluster.ui").joinpath(name).read_text("utf-8") for name in names)


_grid = st.components.v2.component(
    "facecluster_grid",
    css=_read("face_grid.css"),
    js=_read("face_grid.js", "face_grid_sections.js", "face_grid_names.js", "face_grid_drag.js"),
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
class _List:
    """The list as the browser has it, and the rows it was made of."""

    rows: tuple[Row, ...]
    shape: int
    data: Mapping[str, Any]
    place: Mapping[str, int]
    faces: ReferenceType[FaceSet]  # of whose pictures it has the names; an import brings others

    def serves(self, rows: Sequence[Row], may_lack: bool) -> bool:
        """Whether these tiles are in it, few of them told otherwise; of faces some may be gone."""
        if len(rows) > len(self.rows) or len(rows) < (len(self.rows) / 2 if may_lack else len(self.rows)):
            return False
        n_changed = 0
        for row in rows:
            at = self.place.get(row.id)
            if at is None or (row.face, row.is_hidden) != (self.rows[at].face, self.rows[at].is_hidden):
                return False
            n_changed += row != self.rows[at]
        return n_changed <= _MOST_CHANGED


@dataclass
class _Heard:
    """What one session's browser has told about one grid."""

    mount: str = ""
    done: int = 0
    turn: int = 0
    spec: object = None
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
    sections: Sequence[Section] = (),
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
    sections : Sequence[Section]
        Headings, which divide what is shown among them; `shown` is None then.
    """
    if not crops.is_served():
        by_id = {row.id: row for row in rows}
        native_grid.show(key, rows if shown is None else [by_id[one] for one in shown], deeds, kind, sections)
        return
    heard = _heard(key)
    view = session.view()
    held = heard.list = _listed(heard.list, view, tuple(rows), label, kind, deeds, targets)
    order = _ordered(heard, held, rows, shown, spec)
    changed = {row.id: _told(row) for row in rows if row != held.rows[held.place[row.id]]}
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
        on_acts_change=lambda: _acted(key, deeds, sections),
        on_selected_change=lambda: _selected(key),
    )
    told = {"version": held.data["version"], "spec": spec, "rows": order, "sections": _headings(view, sections)}
    _part(key=f"{key}-order", data=_value(key, "order", told))
    _part(key=f"{key}-now", data=_value(key, "now", now))


def _told(row: Row) -> list[Any]:
    return [row.name, row.line, row.warning, _rounded(row.likeness)]


def _rounded(likeness: tuple[float, float | None] | None) -> list[float | None] | None:
    return None if likeness is None else [None if one is None else round(one, 3) for one in likeness]


def _headings(view: View, sections: Sequence[Section]) -> list[dict[str, Any]]:
    hosts = session.settings().image_hosts
    return [
        {
            "id": section.id,
            "title": section.title,
            "line": section.line,
            "picture": crops.name_of(view, section.face, hosts),
            "deeds": [list(deed) for deed in section.deeds],
            "n": section.n,
        }
        for section in sections
        if section.n
    ]


def _value(key: str, part: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": key, "part": part, "value": value}


def _heard(key: str) -> _Heard:
    kept = session.recall("grids")
    grids: dict[str, _Heard] = kept if isinstance(kept, dict) else {}
    grids[key] = grids.pop(key) if key in grids else _Heard()
    for old in list(grids)[:-_MOST_GRIDS]:
        del grids[old]
    session.remember("grids", grids)
    return grids[key]


def _listed(
    held: _List | None,
    view: View,
    rows: tuple[Row, ...],
    label: str,
    kind: str,
    deeds: Deeds,
    targets: Sequence[Target],
) -> _List:
    """The list there is, while it holds these tiles and few of them changed; else a new one.

    Faces that were given away stay in it, not shown: an act on a page of thousands sends a few of its rows.
    """
    base = crops.base_of(session.service(), view.faces)
    is_named = deeds.rename is not None
    shape = hash((base, label, kind, is_named, tuple(targets), *deeds.keys, deeds.hint))
    is_same = held is not None and held.shape == shape and held.faces() is view.faces
    if held is not None and is_same and held.serves(rows, may_lack=kind == "faces"):
        return held
    hosts = session.settings().image_hosts
    data = {
        "ids": [row.id for row in rows],
        "names": [row.name for row in rows] if is_named else [],
        "lines": [row.line for row in rows],
        "warnings": {row.id: row.warning for row in rows if row.warning},
        "likeness": [_rounded(row.likeness) for row in rows] if any(row.likeness for row in rows) else [],
        "counts": [row.n_faces for row in rows] if is_named else [],
        "pictures": [crops.name_of(view, row.face, hosts) for row in rows],
        "targets": [{"id": t.id, "name": t.name, "picture": crops.name_of(view, t.face, hosts)} for t in targets],
        "base": base,
        "sizes": list(crops.SIZES),
        "label": label,
        "kind": kind,
        "isNamed": is_named,
        "keys": list(deeds.keys),
        "passing": deeds.passing,
        "hint": deeds.hint,
    }
    version = sha256(repr(data).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    place = {row.id: i for i, row in enumerate(rows)}
    return _List(rows, shape, {**data, "version": version}, place, ref(view.faces))


def _ordered(
    heard: _Heard, held: _List, rows: Sequence[Row], shown: Sequence[str] | None, spec: str
) -> list[int] | None:
    """Places in the list of what is shown, None for all of it as it stands there.

    People stay where they were while nothing else was asked for of the same people; faces come as the page has them.
    """
    asked = (held.data["version"], spec, frozenset(row.id for row in rows))
    if heard.spec != asked or held.data["kind"] == "faces":
        heard.spec = asked
        order = [held.place[one] for one in (shown if shown is not None else (row.id for row in rows))]
        heard.order = None if order == list(range(len(held.rows))) else order
    return heard.order


def _acted(key: str, deeds: Deeds, sections: Sequence[Section]) -> None:
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
            with session.told():
                _do(act, deeds, sections)
        except Exception:  # a bug keeps its traceback, and is not asked for again
            heard.done = act["n"]
            raise
        heard.done = act["n"]


def _do(act: Mapping[str, Any], deeds: Deeds, sections: Sequence[Section]) -> None:
    if act["kind"] == "open":
        deeds.open(act["id"])
    elif act["kind"] == "rename" and deeds.rename is not None:
        deeds.rename(act["id"], act["name"], act["seen"])
    elif act["kind"] == "drop" and deeds.drop is not None:
        deeds.drop(act["ids"], act["onto"])
    elif act["kind"] == "section" and deeds.section is not None and _still_says(sections, act):
        deeds.section(act["id"], act["deed"])
    elif act["kind"] == "key" and act["key"] in deeds.keys:
        deeds.keys[act["key"]](act["id"])


def _still_says(sections: Sequence[Section], act: Mapping[str, Any]) -> bool:
    """Whether the button that was pressed says the same by now: one for 3 faces is not pressed for 12."""
    return any(
        section.id == act["id"] and (deed, words) == (act["deed"], act["label"])
        for section in sections
        for deed, words in section.deeds
    )


def _selected(key: str) -> None:
    """Follow the selection in the browser, whose it is; it hears of it again only where a page changes it."""
    session.select(key, session.told_by(f"{key}-grid", "selected"))
    _heard(key).turn = session.generation(key)
