"""All faces of a line of a plan, grouped by what they do: come from whom, leave to whom, stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facecluster.plan import Plan
from facecluster.ui.plan_words import Rows, Story

MOST_GROUPS = 60  # more are told together


@dataclass(frozen=True, eq=False)
class Group:
    """Faces under one heading, the least certain first."""

    title: str
    rows: Rows


def groups(plan: Plan, story: Story) -> list[Group]:
    """Everybody's faces that a story is about, what changes before what stays."""
    number = {person: n for n, person in enumerate(plan.people)}
    if len(story.people) == 1:
        found = _of_one(plan, number[story.people[0]])
    elif story.kind == "new":
        found = [Group("A new person", _rows_of(plan.after, number[one])) for one in story.people]
    else:
        word = "Come, one to each" if story.kind == "grown" else "Leave, one from each"
        found = [Group(word, np.concatenate(story.strips))]
    found = [group for group in found if len(group.rows)]
    if len(found) > MOST_GROUPS:
        rest = [group.rows for group in found[MOST_GROUPS - 1 :]]
        found = [*found[: MOST_GROUPS - 1], Group(f"And {len(rest):,} more", np.concatenate(rest))]
    strength = plan.strength
    return [Group(g.title, g.rows[np.argsort(strength[g.rows], kind="stable")].astype(np.int32)) for g in found]


def _of_one(plan: Plan, person: int) -> list[Group]:
    before, after = plan.before, plan.after
    names, n_before = plan.lines.names, plan.lines.n_before
    name = names[person]

    def called(other: int) -> str:
        if other < 0:
            return "nobody"
        return names[other] or ("an unnamed person" if n_before[other] else "a new person")

    found = [
        Group(f"Come from {called(other)}", _rows(before, other, after, person))
        for other, _ in plan.lines.comes.of(person)
    ]
    found += [
        Group(f"Leave to {called(other)}", _rows(before, person, after, other))
        for other, _ in plan.lines.goes.of(person)
    ]
    return [*found, Group(f"Stay with {name}" if name else "Stay", _rows(before, person, after, person))]


def _rows_of(owner: Rows, person: int) -> Rows:
    return np.flatnonzero(owner == person).astype(np.int32)


def _rows(before: Rows, was: int, after: Rows, becomes: int) -> Rows:
    return np.flatnonzero((before == was) & (after == becomes)).astype(np.int32)
