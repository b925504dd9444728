"""What two curators said of one thing in the same moment: the second is told, instead of replacing what nobody saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from facecluster.decisions import Draft, folded
from facecluster.errors import StaleWriteError
from facecluster.model import ChangeRecord, Decision, Kind, PeopleSnapshot, PersonId

Facts = Mapping[tuple[Kind, str, str], str]
"""(kind, subject, object) -> value, as a snapshot has them."""

_ABOUT = {
    "person": "whether there is such a person as {}",
    "name": "the name of {}",
    "hidden": "whether {} is hidden",
    "cover": "the cover of {}",
    "merged_into": "who {} is",
    "pin": "whose face {} is",
    "not_person": "whose face {} is not",
    "link": "whether the faces {} and {} are one person",
    "mark": "whether face {} is set aside",
    "live_run": "which run is shown",
    "run_name": "the name of the run {}",
}
_OF_PEOPLE = ("name", "hidden", "cover", "merged_into", "person")
_VALUE_IS_A_PERSON = ("pin", "merged_into")


_seen: ContextVar[Facts | None] = ContextVar("seen", default=None)


@contextmanager
def standing_on(seen: Facts | None) -> Iterator[None]:
    """Within, what is said stands on what was `seen`; None: on what there is when it is said."""
    before = _seen.set(seen)
    try:
        yield
    finally:
        _seen.reset(before)


class Look:
    """What whoever says something had before their eyes."""

    def __init__(self) -> None:
        self._facts = _seen.get()

    def must_allow(self, draft: Draft) -> None:
        """Refuse a draft on a later snapshot than the one that was looked at, where it would replace what came since.

        Raises
        ------
        StaleWriteError
            With what was seen, what is so now and what would have been written.
        """
        if self._facts is None:
            self._facts = draft.snapshot.facts
        for decision in draft.decisions:
            was = self._facts.get(decision.key)
            if decision.before != was:
                raise StaleWriteError(_in_words(decision, was, draft.snapshot))


def and_said(seen: Facts, record: ChangeRecord) -> Facts:
    """What somebody has in mind who saw this and then made a change of their own."""
    return folded(seen, record.decisions)


def _in_words(decision: Decision, was: str | None, now: PeopleSnapshot) -> str:
    subjects = [
        _called(one, now) if decision.kind in _OF_PEOPLE else one for one in (decision.subject, decision.object)
    ]
    said, before, wanted = (_shown(decision, value, now) for value in (decision.before, was, decision.value))
    return (
        f"Somebody said something of the same meanwhile: {_ABOUT[decision.kind].format(*subjects)} is {said} now "
        f"(it was {before}, and you said {wanted}). Nothing was changed. Look again, then repeat it if yours is right."
    )


def _shown(decision: Decision, value: str | None, now: PeopleSnapshot) -> str:
    if value is None:
        return "not said"
    if decision.kind == "not_person":
        return f"“{_called(decision.object, now)}”"
    if value == "1":
        return "“yes”"
    return f"“{_called(value, now) if decision.kind in _VALUE_IS_A_PERSON else value}”"


def _called(person: str, now: PeopleSnapshot) -> str:
    known = now.people.get(PersonId(person))
    return known.name if known is not None and known.name else person
