"""R2 and R3: whatever a curator does in whatever order, a library is what was said of it, and no name is ever lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import small_library
import test_histories
from contracts.builders import clients_closed
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import get_state_machine_test

from facecluster.hierarchies import Params
from facecluster.model import PersonId
from facecluster.plan import Plan
from facecluster.ports import KEPT_RUNS
from facecluster.service import Service
from trust.acts import copied, make_template
from trust.measure import Found, Measure, cases
from trust.states import fast_folder

MACHINES = (test_histories.Histories, test_histories.SupabaseHistories, test_histories.PineconeHistories)
_AT_ONCE = 20
_STEPS = 50


@contextmanager
def folder_for(name: str) -> Iterator[Path]:
    """A folder that goes."""
    folder = fast_folder() / name
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def run_histories(machine: type[test_histories.Histories], n: int, seed: int) -> str:
    """So many histories of fifty steps; what was wrong with one of them, made as short as it goes."""
    given = settings(
        max_examples=n,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    test = get_state_machine_test(machine, settings=given)
    test._hypothesis_internal_use_seed = seed
    try:
        test()
    except Exception as exc:  # noqa: BLE001  whatever broke, broke the promise
        return f"{machine.stores}, seed {seed}: {type(exc).__name__}: {exc}"[:2_000]
    return ""


def histories(seed: int, seconds: float) -> Found:
    """Files, Supabase and Pinecone in turn: files four times as often, as they are quicker."""
    found, n = Found(), dict.fromkeys((machine.stores for machine in MACHINES), 0)
    order = (MACHINES[0], MACHINES[0], MACHINES[1], MACHINES[0], MACHINES[0], MACHINES[2])
    with folder_for("histories") as folder:
        test_histories.make_template(folder)
        for i in cases(seconds, 10_000 // _AT_ONCE):
            machine = order[i % len(order)]
            try:
                wrong = run_histories(machine, _AT_ONCE, seed + i)
            except pytest.skip.Exception as exc:
                found.note = f"{machine.stores}: not run ({exc.msg}). "
                continue
            found.failures += [wrong] if wrong else []
            found.n, n[machine.stores] = found.n + _AT_ONCE, n[machine.stores] + _AT_ONCE
    found.note += ", ".join(f"{stores} {count}" for stores, count in n.items())
    return found


# --- names -----------------------------------------------------------------------------------------------------------


@dataclass
class Sequence:
    """One library that is clustered again and again."""

    service: Service
    chance: random.Random

    def settings(self) -> Params:
        """Any setting that the sliders can have."""
        pick = self.chance.choice
        return Params(
            min_samples=pick([1, 2, 3]),
            min_cluster_size=self.chance.randint(2, 12),
            epsilon=pick([0.0, self.chance.uniform(0.0, 1.4)]),
            method=pick(["eom", "leaf", "cut"]),
            blur_threshold=pick([0.0, 50.0]),
            refine=self.chance.random() < 0.6,
        )

    def name_everybody(self) -> None:
        """Give each person a name, some with their faces confirmed, some hidden."""
        for i, card in enumerate(self.service.view().people()):
            self.service.rename(card.id, f"Name {i}", confirm=self.chance.random() < 0.3)
            if self.chance.random() < 0.1:
                self.service.hide([card.id])

    def recluster(self) -> list[str]:
        """Publish another setting: the names that are gone by then, or on nobody without a word."""
        before = self.names()
        plan = self.service.plan(self.settings())
        self.service.publish(plan)
        after = self.names()
        wrong = [f"the name {name!r} is gone" for person, name in before.items() if after.get(person) != name]
        return wrong + [f"{before[person]!r} has no face, and nobody is told" for person in self.unheard(plan, before)]

    def names(self) -> dict[PersonId, str]:
        """Who is called what."""
        facts = self.service.view().snapshot.facts
        return {PersonId(subject): value for (kind, subject, _), value in facts.items() if kind == "name"}

    def unheard(self, plan: Plan, names: dict[PersonId, str]) -> list[PersonId]:
        """Named people who had faces, have none now, and are listed nowhere."""
        listed = {*plan.names_at_risk, *(p for q in plan.questions for p in (q.person, q.other))}
        view = self.service.view()
        had = {plan.people[p] for p in set(plan.before.tolist()) if p >= 0}
        return [p for p in names if p in had and p not in listed and not len(view.rows(p))]


def names_kept(template: Path, folder: Path, seed: int, n: int) -> Found:
    """One sequence of `n` re-clusterings."""
    found = Found()
    library = copied(template, folder / f"names-{seed}")
    one = Sequence(small_library.open_library(library), random.Random(seed))
    one.name_everybody()
    for step in range(n):
        found.n += 1
        found.failures += [f"seed {seed}, step {step}: {text}" for text in one.recluster()]
    shutil.rmtree(library, ignore_errors=True)
    return found


def fingerprint(service: Service) -> str:
    """Of all facts and of who owns each face."""
    view = service.view()
    owners = [view.owner(face) for face in view.faces.ids]
    return sha256(repr((sorted(view.snapshot.facts.items()), owners)).encode()).hexdigest()


def edit(one: Sequence, may_publish: bool) -> None:
    """Any edit there is."""
    service, chance = one.service, one.chance
    view = service.view()
    people = [card.id for card in view.people(show_hidden=True)]
    faces = chance.sample(view.faces.ids, 3)
    if len(people) < 2:
        service.new_person(faces)
        return
    if may_publish and chance.random() < 0.1:
        service.publish(service.plan(one.settings()))
        return
    person, other = chance.sample(people, 2)
    chance.choice(
        [
            lambda: service.rename(person, f"Name {chance.random()}", confirm=chance.random() < 0.5),
            lambda: service.move(faces, person),
            lambda: service.mark(faces, "ignored"),
            lambda: service.reject(faces, person),
            lambda: service.merge(person, [other]),
        ]
    )()


def undone(template: Path, folder: Path, seed: int, n: int = 100) -> list[str]:
    """Make so many edits and take each back, the last first: where the library is not exactly as before."""
    library = copied(template, folder / f"undone-{seed}")
    one = Sequence(small_library.open_library(library), random.Random(seed))
    service = one.service
    marks, first = [fingerprint(service)], service.view().snapshot.revision
    while len(marks) <= n:
        revision = service.view().snapshot.revision
        # Runs beyond the last five are let go of, and going back to one of them is refused.
        edit(one, may_publish=len(service.runs()) < KEPT_RUNS)
        if service.view().snapshot.revision > revision:
            marks.append(fingerprint(service))
    wrong = []
    for back in range(n, 0, -1):
        service.undo(first + back)
        if fingerprint(service) != marks[back - 1]:
            wrong.append(f"seed {seed}: taking edit {back} of {n} back left something else than was before it")
            break
    shutil.rmtree(library, ignore_errors=True)
    return wrong


def names(seed: int, seconds: float) -> Found:
    """Sequences of 500 re-clusterings, and after every tenth a hundred edits taken back."""
    found, n_undone, n_sequences = Found(), 0, 0
    with folder_for("names") as folder, clients_closed():
        template = make_template(folder)
        for i in cases(seconds, 2_000):
            one = names_kept(template, folder, seed + i, 500)
            found.n, n_sequences = found.n + one.n, n_sequences + 1
            found.failures += one.failures
            if i % 10 == 0:
                found.failures += undone(template, folder, seed + i)
                n_undone += 1
    found.note = f"{n_sequences} sequences of 500; {n_undone} times a hundred edits taken back to the exact state"
    return found


MEASURES = [
    Measure("R2", "random histories against a model, on every store", "histories", 10_000, 5, histories),
    Measure("R3", "no name is lost, however often the faces are clustered anew", "re-clusterings", 1_000_000, 5, names),
]
