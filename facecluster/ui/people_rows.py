"""Everybody on the People page as tiles of the grid: made once for each moment of a library, for all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import streamlit as st

from facecluster.model import PersonId
from facecluster.ui import blended, session, widgets
from facecluster.ui.face_rows import Row
from facecluster.view import PersonCard, View


@dataclass(frozen=True)
class Everybody:
    """People with faces, hidden ones too, most faces first, and a tile for each."""

    cards: list[PersonCard]
    rows: tuple[Row, ...]
    n_faces: int
    n_hidden: int
    n_unnamed: int  # of those who are not hidden


class _Told(NamedTuple):
    card: PersonCard
    warning: str
    row: Row


class _Kept:
    """What was told of a library last: a rename changes one of 5,000 tiles, and the others stay the same objects."""

    def __init__(self) -> None:
        self._last: tuple[View, Mapping[PersonId, str], Everybody] | None = None
        self._told: dict[PersonId, _Told] = {}

    def everybody(self, view: View, warnings: Mapping[PersonId, str]) -> Everybody:
        last = self._last
        if last is not None and last[0] is view and last[1] == warnings:
            return last[2]
        cards = view.people(show_hidden=True)
        before, now = self._told, {}
        for card in cards:
            warning, known = warnings.get(card.id, ""), before.get(card.id)
            is_same = known is not None and known.warning == warning and known.card == card
            now[card.id] = known if known is not None and is_same else _Told(card, warning, _row(card, warning))
        found = Everybody(
            cards,
            tuple(told.row for told in now.values()),
            sum(card.n_faces for card in cards),
            sum(card.is_hidden for card in cards),
            sum(not (card.name or card.is_hidden) for card in cards),
        )
        # Sessions come here at the same time, and each finds what it puts there: the last one stays.
        self._told, self._last = now, (view, warnings, found)
        return found


@st.cache_resource(show_spinner=False, max_entries=4)
def _kept(library: str) -> _Kept:
    """One for all sessions of a library."""
    del library
    return _Kept()


def everybody() -> Everybody:
    """Who is shown on People now."""
    return _kept(session.library()).everybody(session.view(), blended.warnings())


def _row(card: PersonCard, warning: str) -> Row:
    return Row(card.id, card.name, line(card), card.cover, card.n_faces, card.is_hidden, warning)


def line(card: PersonCard) -> str:
    """What stands below a person: how many faces, how many of them confirmed."""
    n = "" if card.n_confirmed == card.n_faces else f"{card.n_confirmed:,} "
    confirmed = f", {n}confirmed" if card.n_confirmed else ""
    return widgets.faces(card.n_faces) + confirmed + (" · hidden" if card.is_hidden else "")
