"""Random histories of everything a curator can do, on every store, against a model of names and pins.

200 at every run on files, fewer where each step goes to a server; `FACECLUSTER_HISTORIES=2000 pytest
tests/test_histories.py` for ten times as many of each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import small_library
from contracts.builders import SERVERS, clients_closed, pinecone_server, rest_server
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from facecluster.decisions import resolve
from facecluster.errors import InputError, StaleWriteError
from facecluster.hierarchies import Params
from facecluster.model import UserId
from facecluster.ports import KEPT_RUNS
from facecluster.row_state import owners
from facecluster.stores.local import user_folder

N_HISTORIES = int(os.environ.get("FACECLUSTER_HISTORIES", "200"))

numbers = st.integers(0, 99)
names = st.sampled_from(["Anna", "Bert", "Zoë", "  Anna ", "", "'; drop table facts; --", "😀" * 50])
params = st.builds(
    Params,
    st.sampled_from([1, 2, 3]),
    st.sampled_from([2, 3, 5]),
    st.sampled_from([0.0, 0.5, 0.6, 0.8, 1.0]),
    st.sampled_from(["eom", "leaf", "cut"]),
    st.sampled_from([0.0, 50.0, 1000.0]),
    st.booleans(),
)


class Histories(RuleBasedStateMachine):
    """What was said, three ways: the log on disk, two open Services, and `names` and `pins` here."""

    template: Path
    stores = "files"
    n = itertools.count(1)
    n_run = 0

    def __init__(self):
        super().__init__()
        type(self).n_run += 1
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.stack.enter_context(clients_closed())
        self.user, self.given = UserId("local"), {}
        # The template is open: what stands beside its database comes and goes.
        shutil.copytree(self.template, self.folder / "library", ignore=shutil.ignore_patterns("*-shm", "*-wal"))
        self.go_elsewhere(next(self.n))
        self.service, self.other = self.opened(), self.opened()
        self.names, self.pins = {}, {}
        self.said = {0: ({}, {})}  # names and pins that each revision changed: key to (before, after)
        self.facts = {}
        self.revision = 0
        self.n_imports = 0
        self.erased_at = set()

    def go_elsewhere(self, n):
        """Put the library of history `n` where these stores keep it."""

    def opened(self):
        return small_library.open_library(self.folder / "library", self.user, **self.given)

    def teardown(self):
        self.stack.close()

    # --- the model

    def wrote(self, names=(), pins=()):
        """Follow one change set: (key, value) pairs, None to take away."""
        now = self.service.view().snapshot
        assert now.revision in (self.revision, self.revision + 1)
        changed = []
        for model, said in ((self.names, names), (self.pins, pins)):
            changed.append({key: (model.get(key), new) for key, new in dict(said).items() if model.get(key) != new})
            model.update(dict(said))
            for key in [key for key, value in model.items() if value is None]:
                del model[key]
        if now.revision > self.revision:
            self.said[now.revision] = tuple(changed)
            self.facts[self.revision] = getattr(self, "latest", {})
        self.revision = now.revision
        self.latest = dict(now.facts)

    @initialize(how=params, n_named=st.integers(0, 4))
    def first_run(self, how, n_named):
        self.latest = dict(self.service.view().snapshot.facts)
        self.recluster(how)
        for i in range(n_named):
            self.rename(i, f"Person {i}", confirm=False, elsewhere=False)

    @invariant()
    def nothing_is_lost(self):
        view = self.service.view()
        facts = view.snapshot.facts
        assert {key[1]: value for key, value in facts.items() if key[0] == "name"} == self.names
        assert {key[1]: value for key, value in facts.items() if key[0] == "pin"} == self.pins
        for face, person in self.pins.items():
            assert view.owner(face) == resolve(view.snapshot, person)
        one_by_one = owners(view.snapshot, view.faces.ids)
        assert view.state.owner.tolist() == [view.number[p] if p is not None else -1 for p in one_by_one]
        shown = {card.id for card in view.cards}
        for person in self.names:
            assert resolve(view.snapshot, person) in shown, "a name that no screen shows"
        for kind, face, person in facts:
            if kind == "not_person":
                assert view.owner(face) != resolve(view.snapshot, person)
            elif kind == "mark":
                assert view.owner(face) is None
        assert self.other.view().snapshot.facts == facts
        live = facts.get(("live_run", "", ""))
        assert live is None or live in {run.id for run in self.service.runs()}

    # --- what can be chosen

    def person(self, i):
        people = self.service.view().cards
        return people[i % len(people)].id if people else None

    def some_faces(self, i, n):
        ids = self.service.view().faces.ids
        return [ids[at % len(ids)] for at in range(i, i + n)]

    def faces_of(self, person):
        view = self.service.view()
        return [view.faces.ids[row] for row in view.rows(person)]

    # --- what can be done

    @rule(i=numbers, name=names, confirm=st.booleans(), elsewhere=st.booleans())
    def rename(self, i, name, confirm, elsewhere):
        if (person := self.person(i)) is not None:
            mine = self.faces_of(person)
            (self.other if elsewhere else self.service).rename(person, name, confirm=confirm)
            self.wrote({person: name.strip() or None}, dict.fromkeys(mine, person) if confirm else {})

    @rule(i=numbers, j=numbers, n=st.integers(1, 3))
    def move(self, i, j, n):
        if (person := self.person(i)) is not None:
            faces = self.some_faces(j, n)
            self.service.move(faces, person)
            self.wrote(pins=dict.fromkeys(faces, person))

    @rule(j=numbers, n=st.integers(1, 3), name=names)
    def new_person(self, j, n, name):
        faces = self.some_faces(j, n)
        person = self.service.new_person(faces, name)
        self.wrote({person: name.strip() or None}, dict.fromkeys(faces, person))

    @rule(i=numbers, n=st.integers(1, 5))
    def reject(self, i, n):
        person = self.person(i)
        faces = self.faces_of(person)[:n] if person is not None else []
        if faces:
            self.service.reject(faces, person)
            self.wrote(pins=dict.fromkeys(faces))

    @rule(j=numbers, n=st.integers(1, 4), value=st.sampled_from(["ignored", "not_a_face", None]))
    def mark(self, j, n, value):
        faces = self.some_faces(j, n)
        self.service.mark(faces, value)
        self.wrote(pins=dict.fromkeys(faces) if value else {})

    @rule(i=numbers, hidden=st.booleans())
    def hide(self, i, hidden):
        if (person := self.person(i)) is not None:
            self.service.hide([person], hidden)
            self.wrote()

    @rule(i=numbers, j=numbers)
    def merge(self, i, j):
        into, other = self.person(i), self.person(j)
        if into is not None and into == other:
            with pytest.raises(InputError, match="itself"):
                self.service.merge(into, [other])
        elif into is not None:
            self.merged(into, other, lambda: self.service.merge(into, [other]))

    def merged(self, into, other, do):
        held = {person: self.faces_of(person) for person in (into, other)}
        label = {face: int(self.service.view().label[self.service.view().row(face)]) for p in held for face in held[p]}
        do()
        name = {into: self.names[other]} if other in self.names and into not in self.names else {}
        view = self.service.view()
        anchored = {face: into for face in label if view.snapshot.facts.get(("pin", face, "")) == into}
        for faces in held.values():  # each part of either is held by a pin
            assert {label[face] for face in faces} == {label[face] for face in faces if resolve_pin(view, face) == into}
        assert set(self.faces_of(into)) >= {f for f in (*held[into], *held[other]) if not self.rejected(f, into)}
        self.wrote(name, anchored)

    def rejected(self, face, person):
        snapshot = self.service.view().snapshot
        return any(k == "not_person" and f == face and resolve(snapshot, p) == person for k, f, p in snapshot.facts)

    @rule(how=params, elsewhere=st.booleans(), answers=st.lists(st.booleans(), max_size=3))
    def recluster(self, how, elsewhere=False, answers=()):
        service = self.other if elsewhere else self.service
        plan = service.plan(how)
        assert service.view().snapshot.facts == self.latest, "a plan wrote something"
        owned = set(service.view().state.owner.tolist())
        kept = [run.id for run in service.runs()]
        service.publish(plan)
        self.wrote()
        self.runs_are_kept(kept, plan.run.id)
        view = self.service.view()
        assert [view.owner(face) for face in view.faces.ids] == [
            plan.people[p] if p >= 0 else None for p in plan.after.tolist()
        ]
        listed = {*plan.names_at_risk, *(p for q in plan.questions for p in (q.person, q.other))}
        for person in self.names:
            if person in view.number and view.number[person] in owned:
                assert len(view.rows(person)) or person in listed or self.gone_before(plan, person)
        again = self.service.plan(how)
        assert again.is_empty
        assert again.questions == plan.questions
        assert again.run.id == plan.run.id
        for is_yes in answers:
            state = self.service.view().state
            if state.keeps:
                self.answer_keep(is_yes)
            elif state.questions:
                self.answer(0, is_yes)

    def runs_are_kept(self, before, new):
        said = self.facts[self.revision - 1]
        asked_for = {new, said.get(("live_run", "", "")), *(key[1] for key in said if key[0] == "run_name")}
        kept = [run.id for run in self.service.runs()]
        if new in before:  # moved the pointer, or was written anew because somebody had been erased from it
            assert set(kept) >= asked_for & {*before}
        else:
            every = [new, *before]
            assert kept == [run for run in every if run in {*every[:KEPT_RUNS], *asked_for}]

    def gone_before(self, plan, person):
        return person not in plan.people or not (plan.before == plan.people.index(person)).any()

    def answer(self, i, is_yes):
        questions = self.service.view().state.questions
        question = questions[i % len(questions)]
        if is_yes:
            view = self.service.view()
            both = sorted(
                (question.person, question.other),
                key=lambda p: (p not in self.names, -len(view.rows(p)), p),
            )
            self.merged(*both, lambda: self.service.answer(question, True))
            return
        before = dict(self.service.view().snapshot.facts)
        self.service.answer(question, False)
        now = self.service.view().snapshot.facts
        self.wrote(pins={key[1]: value for key, value in now.items() if key[0] == "pin" and before.get(key) != value})
        assert question.id not in {q.id for q in self.service.view().state.questions}

    def answer_keep(self, is_yes):
        question = self.service.view().state.keeps[0]
        view = self.service.view()
        mine = self.faces_of(question.person)
        loose = [f for f in mine if view.label[view.row(f)] in (-1, -2) and f not in self.pins]
        self.service.answer(question, is_yes)
        self.wrote(pins=dict.fromkeys(loose, question.person) if is_yes else {})
        assert question.id not in {q.id for q in self.service.view().state.keeps}
        with pytest.raises(InputError, match="waits for an answer"):
            self.service.answer(question, is_yes)

    @rule(i=numbers, is_yes=st.booleans())
    def answer_what_is_asked(self, i, is_yes):
        state = self.service.view().state
        if state.keeps and i % 2:
            self.answer_keep(is_yes)
        elif state.questions:
            self.answer(i, is_yes)

    @rule(i=numbers, n=st.integers(1, 3))
    def confirm_some(self, i, n):
        faces = self.faces_of(self.person(i))[:n] if self.person(i) is not None else []
        if faces:
            self.service.confirm(self.person(i), faces)
            self.wrote(pins=dict.fromkeys(faces, self.service.view().owner(faces[0])))

    @rule(i=numbers, j=numbers, is_chosen=st.booleans())
    def choose_a_cover(self, i, j, is_chosen):
        person = self.person(i)
        faces = self.faces_of(person) if person is not None else []
        if faces:
            face = faces[j % len(faces)] if is_chosen else None
            self.service.set_cover(person, face)
            self.wrote()
            assert self.latest.get(("cover", person, "")) == face

    @rule(i=numbers, j=numbers, elsewhere=st.booleans())
    def tell_apart(self, i, j, elsewhere):
        one, other = self.person(i), self.person(j)
        if one is None or one == other or not self.faces_of(one) or not self.faces_of(other):
            return
        view = self.service.view()
        pins = {view.anchors(person)[0]: person for person in (one, other)}
        (self.other if elsewhere else self.service).tell_apart([one, other])
        self.wrote(pins=pins)

    @rule(i=numbers, n=st.integers(1, 2))
    def split(self, i, n):
        person = self.person(i)
        faces = self.faces_of(person) if person is not None else []
        if len(faces) <= n:
            return
        before = dict(self.service.view().snapshot.facts)
        self.service.split(person, [faces[:n]])
        now = self.service.view().snapshot.facts
        self.wrote(pins={key[1]: value for key, value in now.items() if key[0] == "pin" and before.get(key) != value})
        assert {self.service.view().owner(face) for face in faces[:n]}.isdisjoint({person, None})

    @rule(blur_threshold=st.sampled_from([0.0, 50.0]))
    def rebuild(self, blur_threshold):
        self.service.prepare(blur_threshold, (1,), rebuild=True)
        self.wrote()
        assert dict(self.service.view().snapshot.facts) == self.latest, "a computation wrote something"

    @rule(i=numbers, j=numbers)
    def compare_two_runs(self, i, j):
        runs = self.service.runs()
        if len(runs) > 1:
            self.service.compared(runs[i % len(runs)].id, runs[j % len(runs)].id)
            self.wrote()

    @rule()
    def undo_the_last(self):
        self.undo(0)

    @rule(back=st.integers(0, 6))
    def undo(self, back):
        revision = self.revision - back
        if revision < 1:
            return
        if revision in self.erased_at:
            with pytest.raises(InputError, match="cannot be brought back"):
                self.service.undo(revision)
            return
        names, pins = self.said[revision]
        try:
            (self.other if back % 2 else self.service).undo(revision)
        except StaleWriteError:
            assert back > 0 or self.is_circle(revision), "the last change can always be taken back"
            assert dict(self.service.view().snapshot.facts) == self.latest
            return
        if back == 0:
            assert dict(self.service.view().snapshot.facts) == self.facts[revision - 1]
        self.wrote({k: before for k, (before, _) in names.items()}, {k: before for k, (before, _) in pins.items()})

    def is_circle(self, revision):
        return any(d.kind == "merged_into" for d in self.service.history(1, revision + 1)[0].decisions)

    @rule(i=numbers)
    def restore(self, i):
        runs = self.service.runs()
        if runs:
            self.service.restore(runs[i % len(runs)].id)
            self.wrote()
            assert self.service.view().snapshot.run.id == runs[i % len(runs)].id

    @rule(
        i=numbers, name=st.sampled_from(["before the wedding", 'ümläut, 100 % & "quoted"', ""]), elsewhere=st.booleans()
    )
    def name_a_run(self, i, name, elsewhere):
        runs = self.service.runs()
        if runs:
            run = runs[i % len(runs)].id
            (self.other if elsewhere else self.service).name_run(run, name)
            self.wrote()
            assert self.latest.get(("run_name", run, "")) == (name or None)

    @precondition(lambda self: len(self.erased_at) < 2)
    @rule(i=numbers, elsewhere=st.booleans())
    def erase(self, i, elsewhere):
        if (person := self.person(i)) is None:
            return
        faces, people = self.service.view().everything_of(person)
        if len(faces) > 15:  # what is left is to be worth clustering
            return
        with pytest.raises(StaleWriteError, match="Nothing was erased"):
            self.service.erase(person, len(faces) + 1)
        (self.other if elsewhere else self.service).erase(person, len(faces))
        pins = {face for face, owner in self.pins.items() if face in faces or owner in people}
        self.wrote(dict.fromkeys(people), dict.fromkeys(pins))
        self.erased_at.add(self.revision)
        self.forget({*faces, *people})
        for service in (self.service, self.other):
            told = repr((service.view().snapshot, service.runs(), service.history(1_000), service.view().faces.ids))
            assert not [one for one in (*faces, *people) if f"'{one}'" in told]

    def forget(self, gone):
        """What was said of somebody who was erased cannot be taken back any more."""
        for revision, kinds in self.said.items():
            self.said[revision] = tuple(
                {key: both for key, both in said.items() if gone.isdisjoint({key, *both})} for said in kinds
            )

    @precondition(lambda self: self.n_imports < 2)
    @rule()
    def import_more(self):
        self.n_imports += 1
        columns = small_library.faces(seed=self.n_imports, strangers=2, prefix=f"more{self.n_imports}")
        some = {key: value[:10] for key, value in columns.items()}
        path = small_library.write_faces(self.folder / "more.npz", **some)
        assert self.service.import_files([path]).added == 10
        assert self.service.import_files([path]).unchanged == 10
        self.wrote()

    @rule()
    def restart(self):
        self.service = self.opened()
        assert dict(self.service.view().snapshot.facts) == self.latest

    @rule(i=numbers, j=numbers)
    def publish_a_stale_plan(self, i, j):
        plan = self.service.plan(small_library.PARAMS)
        faces = self.some_faces(j, 1)
        if (person := self.person(i)) is None or self.pins.get(faces[0]) == person:
            return
        self.other.move(faces, person)
        with pytest.raises(StaleWriteError, match="changed this library meanwhile"):
            self.service.publish(plan)
        self.wrote(pins={faces[0]: person})


def resolve_pin(view, face):
    pinned = view.snapshot.facts.get(("pin", face, ""))
    return pinned and resolve(view.snapshot, pinned)


class PineconeHistories(Histories):
    """Faces in Pinecone, a namespace for each history; people in SQLite."""

    stores = "Pinecone and SQLite"
    n_run = 0

    def go_elsewhere(self, n):
        server, faces = pinecone_server(), small_library.open_library(self.template).view().faces
        told = [
            {"url": url, "folder": folder, "blur_score": float(blur)}
            for url, folder, blur in zip(faces.url, faces.folder, faces.blur_score, strict=True)
        ]
        server.put(faces.ids, faces.vectors, told, f"histories-{n}")
        self.given = {
            "pinecone_api_key": server.api_key,
            "pinecone_host": server.url,
            "pinecone_namespace": f"histories-{n}",
        }


class SupabaseHistories(Histories):
    """Faces in files; people in Supabase, a user for each history."""

    stores = "files and Supabase"
    n_run = 0

    def go_elsewhere(self, n):
        server, self.user = rest_server(), UserId(f"histories|{n}")
        library = self.folder / "library"
        user_folder(library, UserId("local")).rename(user_folder(library, self.user))
        self.given = {"supabase_url": server.url, "supabase_service_key": server.service_key}


@pytest.fixture(scope="session", autouse=True)
def _servers_end():
    yield
    SERVERS.close()


@pytest.fixture(scope="module", autouse=True)
def _template(tmp_path_factory):
    make_template(tmp_path_factory.mktemp("template"))


def make_template(folder):
    """A library with its hierarchies, copied for each history."""
    service = small_library.make_library(folder, publish=False)
    for blur_threshold in (0.0, 50.0):
        service.prepare(blur_threshold, (1, 2, 3))
    with closing(sqlite3.connect(next(folder.glob("library/users/*/library.db")))) as db:
        db.execute("pragma wal_checkpoint(truncate)")  # copies are made of the file alone
    Histories.template = folder / "library"


def settings_for(n):
    return settings(
        max_examples=n,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@pytest.fixture(autouse=True)
def _told(request, tell):
    """How many histories there were is said, as it is fewer on the slow stores."""
    yield
    machine = MACHINES.get(request.node.parent.name)
    if machine is not None:
        tell(f"{machine.n_run} histories on {machine.stores}")


MACHINES = {
    "TestHistories": Histories,
    "TestPineconeHistories": PineconeHistories,
    "TestSupabaseHistories": SupabaseHistories,
}


class TestHistories(Histories.TestCase):
    settings = settings_for(N_HISTORIES)


class TestPineconeHistories(PineconeHistories.TestCase):
    settings = settings_for(max(1, N_HISTORIES // 5))


class TestSupabaseHistories(SupabaseHistories.TestCase):
    settings = settings_for(max(1, N_HISTORIES // 5))


def test_a_blur_threshold_above_all_scores_leaves_a_library_of_nobody(tmp_path):
    service = small_library.make_library(tmp_path, publish=False)
    plan = service.plan(Params(1, 2, 0.0, "eom", 1000.0))
    assert not plan.lines
    assert np.all(plan.label == -2)
