"""What came to a person since this curator was last there: marked on the page, and shown alone when wanted.

A visit lasts until another person is opened. The one before is remembered in the browser session; in a new session it
is the last change in which this user spoke of the person.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import streamlit as st

from facecluster import visits
from facecluster.model import FaceId, PersonId
from facecluster.ui import session, widgets
from facecluster.view import FaceCard

# Changes that are looked through for the last word on somebody. Whoever was spoken of before that counts as never
# visited: nothing is marked.
_CHANGES = 200


@dataclass
class _Visit:
    """The person whose page is open, and the revision at the end of the visit before; None for no visit before.

    `came` was asked for when the person had the faces `known`.
    """

    library: bool
    person: PersonId
    since: int | None
    known: frozenset[FaceId] = frozenset()
    came: frozenset[FaceId] = frozenset()


def came(person: PersonId) -> frozenset[FaceId]:
    """Faces that came to a person since the last visit and that nobody confirmed."""
    view = session.view()
    visit = session.recall("visit")
    if not isinstance(visit, _Visit) or (visit.library, visit.person) != (session.is_demo(), person):
        visit = _Visit(session.is_demo(), person, _last_visit(person))
    rows = view.rows(person).tolist()
    if not visit.known.issuperset(view.faces.ids[row] for row in rows):
        # An earlier moment takes a look at the log, and maybe at a run of then: not after each act on these faces.
        visit.known, visit.came = frozenset(view.ids_of(person)), _came(person, visit.since)
    session.remember("visit", visit)
    _seen()[visit.library, person] = view.snapshot.revision
    return visit.came & {view.faces.ids[row] for row in rows if view.state.pin[row] < 0}


def _seen() -> dict[tuple[bool, PersonId], int]:
    """Revision at which each person's page was last shown in this browser session."""
    found = session.recall("seen")
    if not isinstance(found, dict):
        found = {}
        session.remember("seen", found)
    return found


def _last_visit(person: PersonId) -> int | None:
    service = session.service()
    seen = _seen().get((session.is_demo(), person))
    records = service.history(_CHANGES)
    said = visits.last_spoken_of(records, service.user, person, session.view().snapshot)
    return max((moment for moment in (seen, said) if moment is not None), default=None)


def _came(person: PersonId, since: int | None) -> frozenset[FaceId]:
    view = session.view()
    if since is None or since >= view.snapshot.revision:
        return frozenset()
    return frozenset(session.service().came_since(person, since))


def only_new(person: PersonId, faces: Sequence[FaceCard], new: Collection[FaceId]) -> Sequence[FaceCard]:
    """Say how many faces are new, and offer to see them alone; the faces to show."""
    if not new:
        return faces
    with st.container(horizontal=True, key="fc-quiet-came", vertical_alignment="center"):
        is_wanted = st.toggle(f"Only the {widgets.faces(len(new))} added since your last visit", key=f"came-{person}")
        st.button("Seen", key="came-seen", type="tertiary", on_click=_mark_seen, args=(person,))
    return [face for face in faces if face.id in new] if is_wanted else faces


def _mark_seen(person: PersonId) -> None:
    view = session.service().view()
    known = frozenset(view.ids_of(person))
    session.remember("visit", _Visit(session.is_demo(), person, view.snapshot.revision, known))
