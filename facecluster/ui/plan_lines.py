"""Stories of a plan as lines: who each is about, what happens, and some of the faces; a click opens all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import streamlit as st

from facecluster.ui import crops, pictures, session, widgets
from facecluster.ui.plan_words import Kind, Rows, Story

THUMBS = 8
CONTEXT = 3
PIXELS = 96  # of a thumbnail, drawn at half the size for dense screens
# What the faces of each group in `Story.strips` do, in their order.
_DEEDS: dict[Kind, tuple[str, ...]] = {
    "split": ("leave",),
    "merged": ("come",),
    "gone": ("leave",),
    "new": ("come",),
    "grown": ("come", "leave"),
    "shrunk": ("leave", "come"),
}

_FOLDER = files("facecluster.ui")
_lines = st.components.v2.component(
    "facecluster_plan_lines",
    css=_FOLDER.joinpath("plan_lines.css").read_text("utf-8"),
    js=_FOLDER.joinpath("plan_lines.js").read_text("utf-8"),
)


def show(key: str, lines: Sequence[Story], label: str, open_it: Callable[[str], None]) -> None:
    """Draw the lines; out of Streamlit's own widgets where no route serves the pictures.

    Parameters
    ----------
    label : str
        What the list is called for who does not see it.
    open_it : Callable[[str], None]
        A line was chosen: the key of its story.
    """
    if not crops.is_served():
        with st.container(key="fc-lines", gap=None):
            for at, story in enumerate(lines):
                _native(key, story, at, open_it)
        return

    def opened() -> None:
        chosen = session.told_as(key, "opened")
        if chosen is not None:
            open_it(chosen)

    base = crops.base_of(session.service(), session.view().faces)
    told = [_told(story) for story in lines]
    _lines(key=key, data={"base": base, "side": PIXELS, "label": label, "lines": told}, on_opened_change=opened)


def _told(story: Story) -> dict[str, Any]:
    view, hosts = session.view(), session.settings().image_hosts

    def names(rows: Rows) -> list[str]:
        return [crops.name_of(view, view.faces.ids[row], hosts) for row in rows.tolist()]

    groups = _groups(story)
    return {
        "id": story.key,
        "title": story.title,
        "detail": story.detail,
        "alarm": story.alarm,
        "cover": crops.name_of(view, view.faces.ids[story.cover], hosts) if story.cover >= 0 else None,
        "strips": [
            {"pictures": names(rows[:n]), "more": len(rows) - n if is_whole else 0, "label": label}
            for label, rows, n, is_whole in groups
        ],
        "aloud": ". ".join(filter(None, (story.title, story.detail, story.alarm))),
    }


def _groups(story: Story) -> list[tuple[str, Rows, int, bool]]:
    """What some faces do, which they are, how many are shown, and whether the others are counted."""
    found = []
    context = min(len(story.context), CONTEXT)
    if context:
        found.append((f"{widgets.faces(len(story.context))} that stay", story.context, context, False))
    most = (THUMBS - context) // max(len(story.strips), 1)
    deeds = _DEEDS[story.kind]
    for at, rows in enumerate(story.strips):
        if len(rows):
            n = len(rows) if len(rows) <= most else most - 1
            label = f"{widgets.faces(len(rows))} that {deeds[min(at, len(deeds) - 1)]}"
            found.append((label, rows, n, True))
    return found


def _native(key: str, story: Story, at: int, open_it: Callable[[str], None]) -> None:
    with st.container(horizontal=True, key=f"fc-line-{at}", vertical_alignment="center"):
        if story.cover >= 0:
            st.image(_pictures([story.cover]), width="content", alt="")
        with st.container(gap=None, key=f"fc-words-{at}"):
            st.text(story.title)
            if story.detail:
                st.text(story.detail)
            if story.alarm:
                with st.container(key=f"fc-wrong-line-{at}"):
                    st.text(story.alarm)
        with st.container(horizontal=True, key=f"fc-strips-{at}", gap="small", width="content"):
            for _, rows, n, is_whole in _groups(story):
                strip(rows, n, is_whole)
        st.button("See all faces", key=f"{key}-open-{at}", on_click=open_it, args=(story.key,))


def strip(rows: Rows, n: int, is_whole: bool = True) -> None:
    """The first `n` of some faces in a row, and how many more there are."""
    st.image(_pictures(rows[:n].tolist()), width="content", alt=[""] * n)
    if is_whole and len(rows) > n:
        st.text(f"+{len(rows) - n:,}", width="content")


def _pictures(rows: Sequence[int]) -> list[bytes | str]:
    ids = session.view().faces.ids
    return pictures.of_faces((ids[row] for row in rows), PIXELS)
