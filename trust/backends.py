"""R8: hosted stores that refuse, stall, cut their answers short, lose them or answer with what was: the end is right.

Everything random is done twice: through the real clients, over real sockets, to the servers of the tests with a script
of faults; and to a model without any. Waits between attempts are shortened to a twentieth.
"""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tenacity.nap
from contracts.builders import DIMENSION, clients_closed, pinecone_server, rest_server
from contracts.changes import change, plain_run, said
from servers.faults import Fault

from facecluster.config import load_settings
from facecluster.errors import StaleWriteError, StoreError
from facecluster.model import ChangeSet, FaceBatch, UserId
from facecluster.stores import pinecone_index
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore
from facecluster.stores.pinecone import open_faces
from facecluster.stores.supabase import open_people
from trust.measure import Found, Measure, cases
from trust.states import fast_folder

HURRY = 0.05
PATIENCE_S = 6.0
FACES = [f"face-{i:03d}" for i in range(40)]
_numbers = itertools.count(1)


def faults(chance: random.Random, patience_s: float) -> Iterator[Fault]:
    """One fault after the other, by chance."""
    while True:
        yield chance.choice(
            [
                Fault.status(429, retry_after=chance.choice([0, 1, 2])),
                Fault.status(402),
                *[Fault.status(code) for code in (500, 502, 503, 504)],
                Fault.reset(),
                Fault.truncated(),
                Fault.short(),
                Fault.lost(),
                Fault.lost(),
                Fault.stall(patience_s if chance.random() < 0.03 else 0.05),
            ]
        )


@contextmanager
def hurried() -> Iterator[None]:
    """Wait a twentieth of the time between attempts."""
    pause = pinecone_index._pause
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(HURRY * seconds)))
        patch.setattr(pinecone_index, "_pause", lambda state: HURRY * pause(state))
        patch.setattr("facecluster.stores.pinecone_reading.BETWEEN_LOOKS_S", HURRY)
        yield


def until_done(do: Callable[[], object], server: Any, is_done: Callable[[], bool]) -> int:
    """Do it as somebody who reads the sentence and tries again would: how often it failed.

    After a failure nothing more goes wrong, and what is done by then is not done again. Nobody else writes: what is
    refused as changed by others was changed by an attempt whose answer was lost.
    """
    try:
        do()
    except StaleWriteError as exc:
        raise AssertionError(f"one's own change was taken for somebody else's: {exc}") from exc
    except StoreError as exc:
        server.faults.clear()
        if not str(exc).rstrip().endswith("."):
            raise AssertionError(f"no sentence: {exc}") from exc
        if not is_done():
            do()
        return 1
    return 0


# --- people ----------------------------------------------------------------------------------------------------------


def some_changes(chance: random.Random) -> list[Callable[[Any], ChangeSet]]:
    """Changes of people, each drawn up on what a store says by then."""

    def a_name(store: Any) -> ChangeSet:
        now = store.read()
        person = chance.choice(["p1", "p2", "p3"])
        name = chance.choice(["Zoë", 'Ann, "A"']) + f" {chance.random()}"
        known = () if ("person", person, "") in now.facts else (said("person", person, "1"),)
        return change(now.revision, *known, said("name", person, name, now.facts.get(("name", person, ""))))

    def a_run(store: Any) -> ChangeSet:
        now = store.read()
        owners = [chance.choice(["p1", "p2", "p3", None]) for _ in FACES]
        run = plain_run(f"run-{chance.random()}", FACES, owners)
        live = now.facts.get(("live_run", "", ""))
        new = {o for o in owners if o is not None and ("person", o, "") not in now.facts}
        people = [said("person", person, "1") for person in sorted(new)]
        return change(now.revision, *people, said("live_run", "", run.id, live), run=run, title="Published")

    return [chance.choice([a_name, a_name, a_run]) for _ in range(5)]


def people_told(store: Any) -> tuple[object, ...]:
    """What a store of people says, without the times."""
    now = store.read()
    run = now.run and (now.run.id, now.run.faces, now.run.owner, now.run.label.tolist())
    return dict(now.facts), now.revision, run, [(r.revision, r.title, r.decisions) for r in store.history(100)]


def people_case(folder: Path, seed: int) -> list[str]:
    """A handful of changes in Supabase under faults: what is wrong at the end."""
    chance, server, number = random.Random(seed), rest_server(), next(_numbers)
    server.faults.clear()
    cache = LocalFaceStore(Database(folder / str(number), UserId("x")))
    cache.add(batch(FACES, 0))
    model = LocalPeopleStore(Database(folder / f"{number} model", UserId("x")))
    settings = load_settings(supabase_url=server.url, supabase_service_key=server.service_key)

    def opened(name: str) -> Any:
        return open_people(settings, UserId(f"{name} {seed} {number}"), cache, patience_s=PATIENCE_S)

    quiet, store, n_failed = opened("quiet"), opened("trust"), 0
    changes: list[ChangeSet] = []
    for act in some_changes(chance):
        changes.append(act(model))
        model.apply(changes[-1])
    before = len(server.requests)
    for one in changes:
        quiet.apply(one)
        quiet.read()
    ideal, before = len(server.requests) - before, len(server.requests)
    script = faults(chance, PATIENCE_S)
    n_faults = chance.randint(1, 8)
    for _ in range(n_faults):
        path = chance.choice(["/rest/v1/rpc/", "/rest/v1/rpc/fc_apply"])  # half of them where it is written
        server.faults.add(path, next(script), after=chance.randint(0, 4))
    for one in changes:
        at = one.base_revision

        def is_done(at: int = at) -> bool:
            return bool(opened("trust").revision() > at)

        n_failed += until_done(lambda one=one: store.apply(one), server, is_done)  # type: ignore[misc]
        n_failed += until_done(store.read, server, lambda: False)
    server.faults.clear()
    n_requests = len(server.requests) - before
    wrong = [] if people_told(opened("trust")) == people_told(model) else [f"seed {seed}: not what the model has"]
    if people_told(store) != people_told(model):
        wrong.append(f"seed {seed}: whoever wrote remembers something else than is there")
    if n_requests > 1.5 * (ideal + n_faults + 8 * n_failed):
        wrong.append(f"seed {seed}: {n_requests} requests, {ideal} without {n_faults} faults")
    return wrong


# --- faces -----------------------------------------------------------------------------------------------------------


def batch(ids: list[str], seed: int) -> FaceBatch:
    """Random faces."""
    vectors = np.random.default_rng(seed).standard_normal((len(ids), DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    n, nothing = len(ids), ("",) * len(ids)
    boxes = np.full((n, 4), np.nan, np.float32)
    blur = np.full(n, 100, np.float32)
    return FaceBatch(tuple(ids), vectors, nothing, nothing, nothing, blur, boxes, (b"",) * n, nothing)  # type: ignore[arg-type]


@contextmanager
def stale(server: Any, namespace: str) -> Iterator[None]:
    """Within, who reads finds what was there at its beginning: writes are seen later."""
    records, ids = dict(server.records(namespace)), list(server.sorted_ids(namespace))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "records", lambda _="": records)
        patch.setattr(server, "sorted_ids", lambda _="": ids)
        yield


def faces_step(
    store: Any, server: Any, namespace: str, model: dict[str, Any], chance: random.Random, step: int
) -> None:
    """Do one thing, in the model too, and again where it failed."""

    def do(deed: Callable[[], object]) -> None:
        until_done(deed, server, lambda: False)

    def add(faces: FaceBatch) -> None:
        do(lambda: store.add(faces))
        model.update(zip(faces.ids, faces.vectors, strict=True))

    kind = chance.choice(["fetch", "everything", "add", "remove", "stale"])
    if kind == "add":
        add(batch([f"more-{step}-{i}" for i in range(5)] + chance.sample(FACES, 3), chance.randrange(2**30)))
    elif kind == "remove":
        gone = chance.sample(FACES, 3)
        do(lambda: store.remove(gone))
        for face in gone:
            model.pop(face, None)
    elif kind == "stale":
        with stale(server, namespace):
            add(batch([f"late-{step}-{i}" for i in range(3)], chance.randrange(2**30)))
            do(store.fetch)
    else:
        do(lambda: store.fetch(kind == "everything"))


def faces_case(folder: Path, seed: int) -> list[str]:
    """Adding, removing and fetching in Pinecone under faults: what is wrong at the end."""
    chance, server, number = random.Random(seed), pinecone_server(), next(_numbers)
    namespace = f"trust-{seed}-{number}"
    server.faults.clear()
    given = {"pinecone_api_key": server.api_key, "pinecone_host": server.url, "pinecone_namespace": namespace}
    settings = load_settings(library=folder, user="x", **given)
    store = open_faces(settings, UserId("x"), folder / f"faces {number}", patience_s=PATIENCE_S)
    start = batch(FACES, seed)
    server.put(start.ids, start.vectors, None, namespace)
    model = dict(zip(start.ids, start.vectors, strict=True))
    script = faults(chance, PATIENCE_S)
    for step in range(4):
        for _ in range(chance.randint(0, 3)):
            server.faults.add("/", next(script), after=chance.randint(0, 4))
        faces_step(store, server, namespace, model, chance, step)
        server.faults.clear()
    wrong = []
    before = len(server.requests)
    store.fetch(everything=True)
    n_requests = len(server.requests) - before
    found = store.read()
    store.close()
    if list(found.ids) != sorted(model):
        wrong.append(f"seed {seed}: {len(found.ids)} faces, the model has {len(model)}")
    elif not np.allclose(found.vectors, np.stack([model[face] for face in found.ids]), atol=1e-6):
        wrong.append(f"seed {seed}: other vectors than the model's")
    if sorted(server.records(namespace)) != sorted(model):
        wrong.append(f"seed {seed}: the index holds other faces than the model")
    if n_requests > 12:
        wrong.append(f"seed {seed}: {n_requests} requests to read {len(model)} faces")
    return wrong


def schedules(seed: int, seconds: float, most: int = 1_000) -> Found:
    """Cases on both, in turn."""
    found, folder = Found(), fast_folder()
    n = {people_case: 0, faces_case: 0}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(hurried())
        try:
            rest_server(), pinecone_server()
        except pytest.skip.Exception as exc:
            return Found(not_run=str(exc.msg))
        for i in cases(seconds, most):
            case = (people_case, faces_case)[i % 2]
            try:
                with clients_closed():
                    found.failures += case(folder, seed + i)
            except Exception as exc:  # noqa: BLE001  what breaks is a failure, and others are still to be tried
                found.failures.append(f"seed {seed + i}: {type(exc).__name__}: {exc}")
            found.n, n[case] = found.n + 1, n[case] + 1
    found.note = f"Supabase {n[people_case]}, Pinecone {n[faces_case]}; at our own servers, over the real clients"
    return found


MEASURES = [Measure("R8", "hosted stores that fail: the end is right", "schedules", 1_000, 2, schedules)]
