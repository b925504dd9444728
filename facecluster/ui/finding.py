"""What Find is asked for, which stands in the address, and its answer person by person."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from facecluster.model import FaceId, PersonId
from facecluster.ui import session
from facecluster.view import PersonCard


@dataclass(frozen=True)
class Found:
    """A face of an answer, and why it is there."""

    face: FaceId
    person: PersonId | None
    distance: float
    cosine: float
    is_direct: bool


def search_by(face: str = "", person: str = "") -> None:
    """Search by a face or by a person, as a callback."""
    session.clear_selection("find")
    st.query_params.clear()
    st.query_params.update({"face": face} if face else {"person": person})


def query() -> tuple[FaceId | None, PersonId | None, str]:
    """The face or the person that is searched by, if there is such a one here, and what the address asks for."""
    face, person = st.query_params.get("face", ""), st.query_params.get("person", "")
    v = session.view()
    known = v.card_of.get(PersonId(person))
    return (
        FaceId(face) if face in v.faces.row else None,
        known.id if known is not None and known.n_faces and not face else None,
        face or person,
    )


def found(face: FaceId | None, person: PersonId | None) -> list[Found]:
    """The answer, person by person, those with the nearest face first; faces that are nobody's count as one more."""
    v = session.view()
    hits = [
        Found(
            v.faces.ids[hit.row],
            v.state.people[hit.person] if hit.person >= 0 else None,
            hit.distance,
            hit.cosine,
            hit.why == "direct",
        )
        for hit in session.service().find(face, person)
    ]
    rank: dict[PersonId | None, int] = {}
    for hit in hits:
        rank.setdefault(hit.person, len(rank))
    return sorted(hits, key=lambda hit: (rank[hit.person], not hit.is_direct, hit.distance))


def look_alikes(face: FaceId | None, person: PersonId | None, but: PersonId, n: int) -> list[PersonCard]:
    """The `n` people nearest to a face or a person, the nearest first."""
    near = dict.fromkeys(hit.person for hit in found(face, person) if hit.person not in (None, but))
    return [session.view().card_of[other] for other in near if other is not None][:n]
