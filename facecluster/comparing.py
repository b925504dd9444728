"""Two published runs side by side: who differs, told as a plan from one to the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facecluster.model import ChangeSet, PersonId, Run
from facecluster.plan import Lines, Plan, names_of
from facecluster.view import View


def compared(view: View, a: Run, b: Run) -> Plan:
    """What going from run `a` to run `b` does to each person; nobody is asked anything.

    People are who they are now, after all merges, and faces are those that are still there.

    Parameters
    ----------
    view : View
        Names, merges and faces of today.
    a, b : Run
        Two runs of the same library.

    Returns
    -------
    Plan
        Its change writes nothing.
    """
    now = {person: view.survivor(person) or person for run in (a, b) for person in run.owners[0]}
    people = tuple(sorted(set(now.values())))
    number = {person: i for i, person in enumerate(people)}
    before, after = (_numbers(view, run, now, number) for run in (a, b))
    there = _there(view, b)
    return Plan(
        draw_up=lambda plan: ChangeSet(plan.snapshot.revision, plan.author, "", (), there),
        snapshot=view.snapshot,
        params=there.params,
        author="",
        people=people,
        before=before,
        after=after,
        label=there.label,
        strength=there.strength,
        lines=Lines(people, names_of(people, view.snapshot), before, after),
        questions=(),
        names_at_risk=(),
        gauges={},
    )


def _numbers(view: View, run: Run, now: dict[PersonId, PersonId], number: dict[PersonId, int]) -> NDArray[np.int32]:
    """Shape (n_faces,): whose each face of today was in a run, -1 for nobody's."""
    owners, code = run.owners
    lookup = np.array([*(number[now[person]] for person in owners), -1], np.int32)
    at = run.rows_in(view.faces)
    found = np.full(len(view.faces), -1, np.int32)
    found[at[at >= 0]] = lookup[code[at >= 0]]
    return found


def _there(view: View, run: Run) -> Run:
    """A run with a row for each face of today."""
    at = run.rows_in(view.faces)
    label = np.full(len(view.faces), -1, np.int32)
    strength = np.zeros(len(view.faces), np.float32)
    label[at[at >= 0]], strength[at[at >= 0]] = run.label[at >= 0], run.strength[at >= 0]
    return replace(run, faces=view.faces.ids, owner=(None,) * len(view.faces), label=label, strength=strength)
