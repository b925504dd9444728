"""The face grid: people or faces as a list of which the browser draws what is in sight.

What is shown goes to the browser in three parts, and Streamlit sends only parts that changed: the list itself, which of
it in which order, and what changed since the list was made. A rename is a few hundred bytes, however long the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

import streamlit as st

from facecluster.ui import crops, face_lists, native_grid, session
from facecluster.ui.face_lists import FaceList
from facecluster.ui.face_rows import Deeds as Deeds
from facecluster.ui.face_rows import Row as Row
from facecluster.ui.face_rows import Section as Section
from facecluster.ui.face_rows import Target as Target

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
export default function ({ data: told }) {
  const data = told instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(told)) : told;
  (window.faceclusterParts ??= {})[`${data.key} ${data.part}`] = data.value;
  window.dispatchEvent(new CustomEvent("facecluster-part", { detail: data.key }));
}
""",
)


@dataclass
class _Heard:
    """What one session's browser has told about one grid."""

    mount: str = ""
    done: int = 0
    turn: int = 0
    spec: object = None
    order: list[int] | None = None
    list: FaceList | None = field(default=None, repr=False)


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
    some = rows if isinstance(rows, tuple) else tuple(rows)
    held = heard.list = face_lists.listed(heard.list, view, some, key, label, kind, deeds, targets)
    order = _ordered(heard, held, some, shown, spec)
    hosts = session.settings().image_hosts
    changed = {row.id: _told(row, crops.name_of(view, row.face, hosts)) for row in held.changed(some)}
    turn = session.generation(key)
    now = {
        "changed": changed,
        "gone": held.gone(some) if kind == "people" else [],
        "mount": heard.mount,
        "done": heard.done,
        "selected": session.selected(key),
        "turn": turn,
        "isEcho": turn == heard.turn,  # the selection is what the browser said last, and it may be further on by now
    }
    _grid(
        key=f"{key}-grid",
        data=held.sent,
        default={"selected": []},
        on_acts_change=lambda: _acted(key, deeds, sections),
        on_selected_change=lambda: _selected(key),
    )
    _part(key=f"{key}-order", data=face_lists.ordered(key, held, spec, order, view, sections))
    _part(key=f"{key}-now", data={"key": key, "part": "now", "value": now})


def _told(row: Row, picture: str) -> list[Any]:
    return [row.name, row.line, row.warning, face_lists.rounded(row.likeness), picture]


def _heard(key: str) -> _Heard:
    kept = session.recall("grids")
    grids: dict[str, _Heard] = kept if isinstance(kept, dict) else {}
    grids[key] = grids.pop(key) if key in grids else _Heard()
    for old in list(grids)[:-_MOST_GRIDS]:
        del grids[old]
    session.remember("grids", grids)
    return grids[key]


def _ordered(
    heard: _Heard, held: FaceList, rows: tuple[Row, ...], shown: Sequence[str] | None, spec: str
) -> list[int] | None:
    """Places in the list of what is shown, None for all of it as it stands there.

    People stay where they were while nothing else was asked for of the same people; faces come as the page has them.
    """
    if held.kind == "faces" and shown is None and rows is held.rows:
        return None
    asked = (held.version, spec, (held.gone(rows), held.hidden(rows)) if held.kind == "people" else None)
    if heard.spec != asked or held.kind == "faces":
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
