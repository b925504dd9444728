"""What came to a person since somebody was last there, by the log alone: nothing is stored for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from facecluster.decisions import people_in, resolve
from facecluster.errors import InputError
from facecluster.model import ChangeRecord, FaceId, Kind, PeopleSnapshot, PersonId, UserId
from facecluster.ports import PeopleStore
from facecluster.row_state import owners
from facecluster.view import View

_AT_ONCE = 100


def snapshot_at(now: PeopleSnapshot, revision: int, people: PeopleStore) -> PeopleSnapshot | None:
    """Facts and live run as they were at a revision; None where its run is no longer kept.

    What was erased since is unknown then too.
    """
    facts: dict[tuple[Kind, str, str], str | None] = dict(now.facts)
    for record in _after(revision, now.revision, people):
        for decision in reversed(record.decisions):
            facts[decision.key] = decision.before
    known = {key: value for key, value in facts.items() if value is not None}
    run_id = known.get(("live_run", "", ""))
    run = now.run if now.run is not None and now.run.id == run_id else None
    if run is None and run_id is not None:
        try:
            run = people.run(run_id)
        except InputError:
            return None
    return replace(now, revision=revision, facts=known, run=run)


def _after(revision: int, newest: int, people: PeopleStore) -> Iterable[ChangeRecord]:
    """Changes later than a revision, newest first."""
    before = newest + 1
    while before > revision + 1:
        some = people.history(_AT_ONCE, before)
        for record in some:
            if record.revision <= revision:
                return
            yield record
        if not some:
            return
        before = some[-1].revision


def last_spoken_of(
    records: Sequence[ChangeRecord], author: UserId, person: PersonId, now: PeopleSnapshot
) -> int | None:
    """Newest revision at which this author said something of a person, or was shown them in a change; None for never.

    A publishing speaks of nobody: what it brought is what a curator wants to see.
    """
    for record in records:
        if record.author != author or any(decision.kind == "live_run" for decision in record.decisions):
            continue
        for decision in record.decisions:
            value = decision.value if decision.value is not None else decision.before
            if value is None:
                continue
            spoken_of = people_in(decision.kind, decision.subject, decision.object, value)
            if decision.kind == "person":
                spoken_of = {decision.subject}
            if person in {resolve(now, PersonId(one)) for one in spoken_of}:
                return record.revision
    return None


def came_since(view: View, person: PersonId, revision: int, people: PeopleStore) -> list[FaceId]:
    """Faces of a person that were not theirs at a revision and that nobody confirmed, ascending.

    None where it is not known any more whose they were.
    """
    then = snapshot_at(view.snapshot, revision, people)
    rows = view.rows(person)
    loose = [view.faces.ids[row] for row in rows[view.state.pin[rows] < 0].tolist()]
    if then is None:
        return []
    return [face for face, owner in zip(loose, owners(then, loose), strict=True) if owner != person]
