"""Stories of a plan as lines on a page: who it is about, what happens, and the faces that come and go."""

from __future__ import annotations

import streamlit as st

from facecluster.ui import tuning
from facecluster.ui.plan_words import Rows, Story

THUMBS = 8
CONTEXT = 3
PIXELS = 96  # of a thumbnail, drawn at half the size for dense screens


def line(story: Story, at: int) -> None:
    """One story: cover, words, and the faces it is about."""
    with st.container(horizontal=True, key=f"fc-line-{at}", vertical_alignment="center"):
        if story.cover >= 0:
            st.image(tuning.pictures([story.cover], PIXELS), width="content", alt="")
        with st.container(gap=None, key=f"fc-words-{at}"):
            st.text(story.title)
            if story.detail:
                st.text(story.detail)
            if story.alarm:
                with st.container(key=f"fc-wrong-line-{at}"):
                    st.text(story.alarm)
        with st.container(horizontal=True, key=f"fc-strips-{at}", gap="small", width="content"):
            context = story.context[:CONTEXT]
            strip(context)
            for rows in story.strips:
                strip(rows, (THUMBS - len(context)) // len(story.strips))


def strip(rows: Rows, most: int = THUMBS) -> None:
    """Some faces in a row, and how many more there are."""
    shown = rows if len(rows) <= most else rows[: most - 1]
    if not len(shown):
        return
    st.image(tuning.pictures(shown, PIXELS), width="content", alt=[""] * len(shown))
    if len(rows) > len(shown):
        st.text(f"+{len(rows) - len(shown):,}", width="content")
