"""The face grid out of Streamlit's own widgets, a page at a time: for where no route serves the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from facecluster.ui import session, widgets
from facecluster.ui.face_rows import Deeds, Row, Section


def show(
    key: str, rows: Sequence[Row], deeds: Deeds, kind: Literal["people", "faces"], sections: Sequence[Section]
) -> None:
    """Draw `rows` under their headings; see `face_grid.show`."""
    size: Literal["large", "medium"] = "large" if kind == "people" else "medium"
    on_page = widgets.paged(len(rows), key)
    first = 0
    for section in sections or (Section("", "", len(rows)),):
        part = range(max(first, on_page.start), min(first + section.n, on_page.stop))
        first += section.n
        if not part:
            continue
        if section.title:
            _heading(key, section, deeds)
        with st.container(horizontal=True, key=f"fc-grid-{size}-{key}-{section.id}"):
            for at in part:
                _tile(key, rows[at], deeds)


def _heading(key: str, section: Section, deeds: Deeds) -> None:
    with st.container(horizontal=True, key=f"fc-section-{key}-{section.id}", vertical_alignment="bottom"):
        st.text(section.title, width="content")
        st.text(section.line, width="content")
        for deed, words in section.deeds:
            st.button(
                widgets.escaped(words), key=f"deed-{section.id}-{deed}", on_click=_answer,
                args=(deeds, section.id, deed),
            )  # fmt: skip


def _answer(deeds: Deeds, section: str, deed: str) -> None:
    with session.told():
        if deeds.section is not None:
            deeds.section(section, deed)


def _tile(key: str, row: Row, deeds: Deeds) -> None:
    said = f"{row.line} · {row.warning}" if row.warning else row.line

    def below() -> None:
        if deeds.rename is not None:
            field = f"name-{row.id}-{row.name}"
            st.text_input(
                widgets.escaped(f"Name of {widgets.called(row.name)}"), row.name, key=field, placeholder="Add name",
                label_visibility="collapsed", on_change=session.rename, args=(row.id, field, row.name),
            )  # fmt: skip
        widgets.small(said, f"line-{row.id}")

    label = f"{widgets.called(row.name)}, {said}" if deeds.rename is not None else said or "Face"
    widgets.face_tile(row.face, row.id, label, scope=key, item=row.id, on_open=deeds.open, args=(row.id,), below=below)
