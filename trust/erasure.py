"""People are erased from random libraries on every store, and every byte that is left is looked through for them."""

from __future__ import annotations

import functools
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trust.measure import Found, Measure, cases

import small_library  # isort: skip  (tests/ is on the path once trust.measure is loaded)
from contracts.builders import clients_closed  # isort: skip
from servers.pinecone_server import PineconeServer  # isort: skip
from servers.postgres_server import shared_postgres  # isort: skip
from servers.rest_server import RestServer  # isort: skip

from facecluster import uploads  # isort: skip
from facecluster.clustering.known import row_marks  # isort: skip
from facecluster.config import Settings, load_settings  # isort: skip
from facecluster.decisions import person_id  # isort: skip
from facecluster.errors import FaceClusterError, InputError, StaleWriteError  # isort: skip
from facecluster.hierarchies import Params  # isort: skip
from facecluster.model import ChangeSet, Decision, FaceId, PersonId, Run, UserId  # isort: skip
from facecluster.ports import KEPT_RUNS  # isort: skip
from facecluster.service import Service  # isort: skip
from facecluster.stores.local import Database, user_folder  # isort: skip
from facecluster.stores.local_faces import LocalFaceStore  # isort: skip
from facecluster.stores.supabase import SupabasePeopleStore  # isort: skip
from facecluster.wiring import open_jobs, open_service  # isort: skip

_NAMES = ("Käthe", "Ödön", "Søren", "Zoë", "Łucja", "Иван", "美咲", "O'Brien")
_PARAMS = (small_library.PARAMS, Params(2, 3, 0.4, "eom", 50.0), Params(3, 2, 0.2, "leaf", 50.0))
_POINTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


# --- a library with everything in it ---------------------------------------------------------------------------------


@dataclass
class Place:
    """Where the library of one case is kept: a folder, and what the servers hold of this user."""

    folder: Path
    settings: dict[str, Any]
    user: str
    dump: Callable[[], bytes] = lambda: b""

    def open(self) -> Service:
        """As the next process would open it."""
        return open_service(load_settings(library=self.folder / "library", **self.settings), self.user)


@dataclass
class Servers:
    """Pinecone and Supabase of the tests; None where this machine cannot run one of them, and why."""

    pinecone: PineconeServer | None = None
    rest: RestServer | None = None
    why: str = ""


@contextmanager
def servers() -> Iterator[Servers]:
    """Both, started for as long as the block lasts."""
    with ExitStack() as stack:
        try:
            rest = stack.enter_context(RestServer(shared_postgres().database()))
        except pytest.skip.Exception as exc:
            yield Servers(why=str(exc.msg))
            return
        yield Servers(stack.enter_context(PineconeServer(dimension=16)), rest)


@contextmanager
def place(hosted: Servers | None, folder: Path, seed: int) -> Iterator[Place]:
    """A place for a library: embedded, or with faces and people on servers."""
    if hosted is None:
        yield Place(folder, {}, "curator")
        return
    pinecone, rest = hosted.pinecone, hosted.rest
    assert pinecone is not None
    assert rest is not None
    user = f"erasure {seed} {time.monotonic_ns()}"
    namespace = f"erasure-{time.monotonic_ns()}"
    given = {
        "pinecone_api_key": pinecone.api_key, "pinecone_host": pinecone.url, "pinecone_namespace": namespace,
        "supabase_url": rest.url, "supabase_service_key": rest.service_key, "user": user,
    }  # fmt: skip

    def dump() -> bytes:
        records = pinecone.records(namespace).values()
        parts = [f"{one.id} {json.dumps(one.metadata, ensure_ascii=False)}".encode() for one in records]
        parts += [np.asarray(one.values, "<f4").tobytes() for one in records]
        return b"\n".join([*parts, _rows_of(rest.database, user)])

    with clients_closed():
        yield Place(folder, given, user, dump)


def _rows_of(database: Any, user: str) -> bytes:
    with database.connect() as db:
        db.execute("select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, false)", (user,))
        tables = db.execute("select relname from pg_class where relname like 'fc\\_%' and relkind = 'r'").fetchall()
        rows = [row for (name,) in tables for row in db.execute(f"select t::text from {name} t").fetchall()]  # noqa: S608
    return "\n".join(row for (row,) in rows).encode()


def columns(seed: int) -> dict[str, Any]:
    """Faces with a picture each, in photos of their own or shared by two."""
    found = small_library.faces(seed, prefix=f"face-{seed}")
    n = len(found["ids"])
    rng = np.random.default_rng(seed)
    crops = [_jpeg(rng) for _ in range(n)]
    found["photo"] = np.array([f"IMG_{seed}_{i if i % 3 else i + 1:05d}.jpg" for i in range(n)])
    found["url"] = np.array([f"https://img.example/{seed}/{name}" for name in found["photo"]])
    found["crops"] = np.frombuffer(b"".join(crops), np.uint8)
    found["crop_offsets"] = np.cumsum([0, *map(len, crops)])
    return found


def _jpeg(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(out, "JPEG", quality=50)
    return out.getvalue()


def made(where: Place, seed: int) -> dict[str, Any]:
    """A library in which a curator was at work, with saved computations, files aside, an older library; its faces."""
    rng, faces = random.Random(seed), columns(seed)
    file = small_library.write_faces(where.folder / "faces.npz", **faces)
    service = where.open()
    service.import_files([file])
    for params in rng.sample(_PARAMS, 2):
        service.publish(service.plan(params))
        for step in range(rng.randint(4, 9)):
            with suppress(InputError, StaleWriteError):
                _deed(service, rng, f"{rng.choice(_NAMES)} {seed}-{step}-{rng.randint(100, 999)}")
    service.publish(service.plan(_PARAMS[0]))
    service.prepare(50.0, (2, 3))
    service.map()
    return {**faces, "file": file}


def _deed(service: Service, rng: random.Random, name: str) -> None:
    view = service.view()
    people = [card.id for card in view.cards if card.n_faces]
    if len(people) < 2:
        return
    one, other = rng.sample(people, 2)
    mine = view.ids_of(one)
    deeds: list[Callable[[], object]] = [
        lambda: service.rename(one, name, confirm=rng.random() < 0.4),
        lambda: service.rename(one, name),
        lambda: service.confirm(one, mine[:2]),
        lambda: service.reject(mine[-1:], other),
        lambda: service.merge(one, [other]),
        lambda: service.tell_apart([one, other]),
        lambda: service.set_cover(one, mine[0]),
        lambda: service.move(mine[:1], other),
        lambda: service.undo(view.snapshot.revision),
        lambda: service.hide([one]),
    ]
    rng.choice(deeds)()


def strew(where: Place, faces: dict[str, Any], seed: int) -> None:
    """Leave what a killed or careless past leaves: an upload that waits, a job that failed, other libraries, tails."""
    settings = load_settings(library=where.folder / "library", **where.settings)
    folder = user_folder(settings.library, UserId(where.user))
    with faces["file"].open("rb") as content:
        uploads.keep(folder / "uploads", [("faces.npz", content)])
    jobs = open_jobs(settings, where.user)
    (folder / "jobs").mkdir(exist_ok=True)
    job = folder / "jobs" / f"{jobs.id('import', folder='x')}.log"
    job.write_text(f"ValueError: {faces['ids'].tolist()}", "utf-8")
    job.with_suffix(".job").write_text("{}", "utf-8")
    (folder / "cache" / ".0123.tmp").write_bytes(faces["vectors"].tobytes())
    (folder / "vectors.99999.f32").write_bytes(faces["vectors"].tobytes())
    older = LocalFaceStore(Database(folder / "hosted" / f"{seed:032x}", UserId(where.user)))
    batch = where.open().view().faces
    from facecluster.importing import read_faces

    older.add(read_faces(faces["file"], batch.vectors.shape[1]).batch)
    if where.settings:
        _stage_aside(where.open())


def _stage_aside(service: Service) -> None:
    """A run that was staged in Supabase and never published, as by a publisher who was killed."""
    people = service._people
    assert isinstance(people, SupabasePeopleStore)
    run = service.plan(_PARAMS[2]).change.run
    assert run is not None
    reasons = {face: f"about {face}" for face in run.faces}
    people._stage(
        replace(run, id="run-left-aside", reason=reasons, questions=service.view().snapshot.run.questions), "x"
    )


# --- what is looked for ----------------------------------------------------------------------------------------------


@dataclass
class Needles:
    """What must be nowhere, by kind."""

    of: dict[str, list[bytes]] = field(default_factory=dict)

    def seen(self, where: Place) -> dict[str, list[bytes]]:
        """Which of them stand in any file below the place, in the name of one, or in what the servers hold."""
        parts = [where.dump()]
        for path in sorted((where.folder / "library").rglob("*")):
            parts.append(str(path.relative_to(where.folder)).encode())
            if path.is_file():
                parts.append(path.read_bytes())
        hay = b"\0\n".join(parts)
        found = {kind: [one for one in some if one in hay] for kind, some in self.of.items()}
        return {kind: some for kind, some in found.items() if some}


def needles(service: Service, faces: dict[str, Any], person: PersonId) -> Needles:
    """Ids, names, photos that show nobody else, vectors in three widths, pictures in three forms, hashes of both."""
    view = service.view()
    mine, people = view.everything_of(person)
    log = service.history(10_000)
    names = {
        said for record in log for d in record.decisions if d.kind == "name" and d.subject in people
        for said in (d.value, d.before) if said
    }  # fmt: skip
    at = {face: i for i, face in enumerate(faces["ids"].tolist())}
    rows = [at[face] for face in mine if face in at]
    others = {str(faces["photo"][i]) for face, i in at.items() if face not in set(mine)}
    photos = {str(faces["photo"][i]) for i in rows} - others
    stored = [view.faces.vectors[view.row(face)] for face in mine if face in view.faces.row]
    pictures = [service.crop(face) for face in mine if face in view.faces.row]
    vectors: NDArray[np.float32] = np.array([*stored, *faces["vectors"][rows]], np.float32)
    return Needles(
        {
            "id": [text.encode() for text in (*mine, *people)],
            "name": [form for name in names for form in _forms(name)],
            "photo": [text.encode() for text in photos],
            "fp32": [row.astype("<f4").tobytes()[:24] for row in vectors],
            "fp16": [row.astype("<f2").tobytes()[:16] for row in vectors],
            "int8": [np.round(row * 127).astype(np.int8).tobytes() for row in vectors],
            "mark": [mark.tobytes() for mark in row_marks(vectors)],
            "picture": [crop[-80:-16] for crop in pictures if crop],
            "picture as text": [b64encode(crop)[-120:-40] for crop in pictures if crop],
            "hash": [sha256(crop).digest() for crop in pictures if crop],
            "hash as text": [sha256(crop).hexdigest()[:16].encode() for crop in pictures if crop],
        }
    )


def _forms(name: str) -> list[bytes]:
    escaped = json.dumps(name).strip('"').encode()
    return list(dict.fromkeys([name.encode(), name.encode("utf-16-le"), escaped]))


# --- what the others keep --------------------------------------------------------------------------------------------


def of_the_others(service: Service, mine: set[str], people: set[str]) -> dict[str, Any]:
    """Names, faces and facts of everybody else, and whom each of their faces is nearest to among themselves."""
    view = service.view()
    left = [face for face in view.faces.ids if face not in mine]
    vectors = np.array([view.faces.vectors[view.row(face)] for face in left], np.float64)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -2.0)
    return {
        "names": {card.id: card.name for card in view.cards if card.id not in people},
        "faces": {card.id: view.ids_of(card.id) for card in view.cards if card.id not in people},
        "nearest": dict(zip(left, np.array(left, object)[near.argmax(axis=1)].tolist(), strict=True)) if left else {},
        "facts": {key: value for key, value in view.snapshot.facts.items() if not {*key[1:], value} & (mine | people)},
        "pictures": {face: service.crop(FaceId(face)) for face in left},
    }


# --- the cases -------------------------------------------------------------------------------------------------------


def erased_without_trace(hosted: Servers | None, seed: int, folder: Path) -> tuple[list[str], float]:
    """One library, one person erased and blocked: what broke the promise, and seconds that the erasing took."""
    store = "embedded" if hosted is None else "hosted"
    with place(hosted, folder, seed) as where:
        faces = made(where, seed)
        strew(where, faces, seed)
        service = where.open()
        person = _somebody(service, seed)
        what, (mine, people) = needles(service, faces, person), service.view().everything_of(person)
        unseen = {"id", "fp32", "picture"} - what.seen(where).keys()
        if unseen:
            return [f"{store} {seed}: the scan cannot see {sorted(unseen)} before the erasing"], 0.0
        before = of_the_others(service, set(mine), set(people))
        start = time.monotonic()
        service.erasing.erase([person], len(mine), block=True)
        took = time.monotonic() - start
        bad = _traces(where, what, f"{store} {seed}: after erasing")
        after = of_the_others(where.open(), set(mine), set(people))
        bad += [f"{store} {seed}: {key} of others changed" for key in before if before[key] != after[key]]
        bad += _nothing_comes_back(where, what, faces, len(mine), f"{store} {seed}")
    return bad, took


def _somebody(service: Service, seed: int) -> PersonId:
    cards = [card for card in service.view().cards if card.n_faces]
    named = [card for card in cards if card.name]
    return random.Random(seed).choice(named or cards).id


def _traces(where: Place, what: Needles, when: str) -> list[str]:
    return [f"{when}: {kind}, {len(some)} times, the first {some[0]!r}" for kind, some in what.seen(where).items()]


def _nothing_comes_back(where: Place, what: Needles, faces: dict[str, Any], n: int, case: str) -> list[str]:
    service = where.open()
    log = service.history(10_000)
    bad = [] if any(record.n_erased for record in log) else [f"{case}: the log does not say that somebody was erased"]
    for record in log:
        with suppress(FaceClusterError):
            service.undo(record.revision)
    for run in service.runs():
        with suppress(FaceClusterError):
            service.restore(run.id)
    report = service.import_files([faces["file"]])
    if report.blocked != n or report.added:
        bad.append(f"{case}: {report.blocked} of {n} faces were kept from coming back, {report.added} came")
    service.publish(service.plan(_PARAMS[0]))
    # A person's id is made of a face: one that stays, and is somebody else's, may make the same id again.
    again = {person_id(face, ()).encode() for face in service.view().faces.ids}
    what.of["id"] = [one for one in what.of["id"] if one not in again]
    return bad + _traces(where, what, f"{case}: after undoing everything and importing again")


def tried_on_every_store(seed: int, seconds: float, most: int | None = None) -> Found:
    """Libraries on each store in turn."""
    found, took = Found(), [0.0]
    with servers() as hosted:
        stores: list[Servers | None] = [None] if hosted.rest is None else [None, hosted]
        for n in cases(seconds, most):
            with tempfile.TemporaryDirectory() as folder:
                bad, one = erased_without_trace(stores[n % len(stores)], seed + n, Path(folder))
            found.n += 1
            found.failures += bad
            took.append(one)
    which = "embedded, Pinecone and Supabase" if not hosted.why else f"embedded; hosted not run: {hosted.why}"
    found.note = f"{which}; an erasing took {max(took):.1f} s at most"
    return found


# --- kills -----------------------------------------------------------------------------------------------------------

_SPAWN = multiprocessing.get_context("forkserver")  # a process of its own for each death, without loading all anew
_SPAWN.set_forkserver_preload(["trust.erasure"])


def die_at(point: int, folder: Path, person: str, n_faces: int) -> None:
    """Erase somebody, and be killed at the write of this number: statements of SQLite, files opened, moved, gone."""
    service = Place(folder, {}, "curator").open()
    left = point

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def watched(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db = connect(*args, **kwargs)
        db.set_trace_callback(count)
        return db

    sqlite3.connect = watched
    for database in _databases(service):
        database.close()  # so that their statements are counted too
    sys.addaudithook(lambda event, args: count() if event in _POINTS and str(folder) in str(args[0]) else None)
    service.erasing.erase([PersonId(person)], n_faces)


def _databases(service: Service) -> list[Any]:
    stores = (service._faces, service._people)
    return [
        found for store in stores for found in (getattr(store, "database", None), getattr(store, "_db", None)) if found
    ]


def killed(seed: int, point: int, library: Path, folder: Path) -> tuple[list[str], bool]:
    """An erasing killed at one point, then the library opened anew: what is left; whether it was killed."""
    shutil.copytree(library, folder)
    where = Place(folder, {}, "curator")
    service = where.open()
    person = _somebody(service, seed)
    what, (mine, people) = needles(service, _faces_of(library), person), service.view().everything_of(person)
    before = of_the_others(service, set(mine), set(people))
    del service
    process = _SPAWN.Process(target=die_at, args=(point, folder, person, len(mine)))
    process.start()
    process.join()
    again = where.open()
    case = f"seed {seed}, killed at write {point}"
    if person in again.view().number:  # nothing was begun: the same command does it
        if again.view().everything_of(person)[0] != mine:
            return [f"{case}: neither there nor gone"], True
        again.erase(person, len(mine))
    bad = _traces(where, what, case)
    after = of_the_others(where.open(), set(mine), set(people))
    bad += [f"{case}: {key} of others changed" for key in before if before[key] != after[key]]
    if process.exitcode not in (0, -signal.SIGKILL):
        bad.append(f"{case}: ended with {process.exitcode}")
    return bad, process.exitcode == -signal.SIGKILL


@functools.cache
def _faces_of(library: Path) -> dict[str, Any]:
    with np.load(library / "faces.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def tried_with_kills(seed: int, seconds: float, most: int | None = None) -> Found:
    """Erasings killed at writes drawn by chance, on one embedded library after the other."""
    found, rng, last = Found(), random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        library, deepest = Path(folder) / "0", 400
        for n in cases(seconds, most):
            if n % 25 == 0:
                library, deepest = Path(folder) / str(n), 400
                library.mkdir()
                where = Place(library, {}, "curator")
                strew(where, made(where, seed + n), seed + n)
                last = seed + n
            point = rng.randint(1, deepest)
            copy = Path(folder) / f"copy-{n}"
            bad, was_killed = killed(last, point, library, copy)
            if not was_killed:
                deepest = max(point - 1, 1)  # it has fewer writes than that
            found.n += was_killed
            found.failures += bad
            shutil.rmtree(copy)
    found.note = f"at any of about {deepest} writes, embedded"
    return found


# --- how long --------------------------------------------------------------------------------------------------------


def how_long(seed: int, seconds: float, n_faces: int = 100_000, n_mine: int = 50) -> Found:
    """Erase a person from a library of 100,000 faces of 512 numbers."""
    del seconds
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_faces, 512), np.float32)
    crop = np.frombuffer(_jpeg(rng), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        service = open_service(Settings(library=Path(folder)))
        ids = np.array([f"face-{i:06d}" for i in range(n_faces)])
        file = small_library.write_faces(
            Path(folder) / "faces.npz", ids=ids, vectors=vectors,
            photo=np.array([f"IMG_{i // 2}.jpg" for i in range(n_faces)]),
            crops=np.tile(crop, n_faces), crop_offsets=np.arange(n_faces + 1) * len(crop),
        )  # fmt: skip
        service.import_files([file])
        file.unlink()
        person = service.new_person([FaceId(face) for face in ids[:n_mine].tolist()], "Somebody")
        for number in range(KEPT_RUNS):
            _publish_made_up(service, ids.tolist(), f"run-{number}")
        start = time.monotonic()
        service.erasing.erase([person], n_mine, block=True)
        took = time.monotonic() - start
    failures = [] if took <= 10 else [f"erasing took {took:.1f} s at {n_faces:,} faces"]
    return Found(1, failures, note=f"{took:.1f} s at {n_faces:,} faces of 512 numbers, {n_mine} of them erased")


def _publish_made_up(service: Service, ids: list[str], run_id: str) -> None:
    """A run in which twenty faces in a row are one person: clustering is not what is measured."""
    faces = tuple(FaceId(face) for face in ids)
    owners = tuple(PersonId(f"p-{i // 20:06d}") for i in range(len(ids)))
    zeros = np.zeros(len(ids), np.float32)
    run = Run(run_id, {"run": run_id}, "made up", faces, owners, zeros.astype(np.int32), zeros)
    now = service._people.read()
    said = Decision("live_run", "", "", run_id, now.facts.get(("live_run", "", "")))
    service._people.apply(ChangeSet(now.revision, "test", f"Published {run_id}", (said,), run))


MEASURES = [
    Measure(
        "R19a", "an erased person leaves no byte, and the others keep all", "erasures", 400, 2.0, tried_on_every_store
    ),
    Measure("R19b", "an erasing that is killed is finished", "kills", 1_000, 2.0, tried_with_kills),
    Measure("R19c", "erasing takes at most 10 s at 100,000 faces", "erasures", 1, 0.0, how_long),
]
