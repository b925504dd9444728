"""What the hosted stores cost: `python -m benchmarks.hosted [--sizes N ...] [--publish N] [--json FILE]`.

Both services are stood in for by the servers of the tests, on loopback, each in a process of its own: the Pinecone
index, and a Postgres with the migrations behind a REST front. So the figures say what our side costs and how many
requests overlap; over a real network latency comes on top.

- Reading: all vectors and metadata of an index into an empty library, against the loop that the SDK's manual shows
  (`list`, `fetch` a page, keep the values) in one thread, in the same run.
- Publishing: the run of 100,000 faces from a plan to the moment it is shown, against the embedded store. Whole first
  time (what is shown of each face goes along) and again (it is known by then).
- A rename, until another reader sees it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.report import Row, against, show, write  # noqa: E402
from facecluster.config import load_settings  # noqa: E402
from facecluster.demo import synthetic_faces  # noqa: E402
from facecluster.model import ChangeSet, Decision, FaceBatch, PersonId, Run, UserId  # noqa: E402
from facecluster.ports import PeopleStore  # noqa: E402
from facecluster.stores.local import Database  # noqa: E402
from facecluster.stores.local_faces import LocalFaceStore  # noqa: E402
from facecluster.stores.local_people import LocalPeopleStore  # noqa: E402

USER = UserId("benchmark")
FACES_A_PERSON = 20
RENAMES = 40
GOAL_PUBLISH_S, GOAL_RENAME_S = 5.0, 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 50_000], help="faces to read")
    parser.add_argument("--publish", type=int, default=100_000, help="faces to publish, 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    args = parser.parse_args()
    rows = [row for n in args.sizes for row in show(reading(n))]
    if args.publish:
        rows += show(publishing(args.publish))
    if args.json:
        write(args.json, rows)


def reading(n: int) -> Iterator[Row]:
    with served(pinecone_side, n) as (url, key), tempfile.TemporaryDirectory() as folder:
        settings = load_settings(library=Path(folder), user=USER, pinecone_api_key=key, pinecone_host=url)
        from facecluster.stores.pinecone import open_faces

        start = perf_counter()
        faces = open_faces(settings, USER, Path(folder))
        faces.fetch()
        ours = perf_counter() - start
        sure(len(faces.read()) == n, "every face was read")
        start = perf_counter()
        faces.fetch()
        again = perf_counter() - start
        peer = plain_loop(url, key, n)
    yield against(f"{n:,} faces read from an index: seconds", ours, "s", "the SDK's loop in one thread", peer)
    yield Row(
        f"{n:,} faces read from an index: vectors a second", n / ours, "1/s", "the same loop", n / peer, peer / ours
    )
    yield Row(f"{n:,} faces: a second start, nothing new", again, "s")


def plain_loop(url: str, key: str, n: int) -> float:
    from pinecone import Pinecone

    start = perf_counter()
    index = Pinecone(api_key=key).index(host=url)
    vectors, metadata = [], []
    for page in index.list():
        found = index.fetch(ids=[one.id for one in page.vectors])
        vectors += [one.values for one in found.vectors.values()]
        metadata += [one.metadata for one in found.vectors.values()]
    sure(np.array(vectors, np.float32).shape == (n, 512) and len(metadata) == n, "every face was read")
    return perf_counter() - start


def sure(is_so: bool, what: str) -> None:
    if not is_so:
        raise SystemExit(f"It is not so that {what}: nothing can be measured.")


def publishing(n: int) -> Iterator[Row]:
    from facecluster.stores.supabase import open_people

    with served(supabase_side) as (url, key), tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder), USER)
        faces = LocalFaceStore(database)
        faces.add(batch(n))
        settings = load_settings(supabase_url=url, supabase_service_key=key)
        hosted, reader = (open_people(settings, USER, faces) for _ in range(2))
        embedded = LocalPeopleStore(database)
        runs = [a_run(n, seed) for seed in range(3)]
        seconds: dict[PeopleStore, list[float]] = {
            store: [publish(store, run) for run in runs] for store in (hosted, embedded)
        }
        first, *later = seconds[hosted]
        yield goal_s(f"{n:,} assignments published", min(later), GOAL_PUBLISH_S, "SQLite", min(seconds[embedded][1:]))
        yield goal_s(f"{n:,} assignments published, with urls and folders of all faces", first, GOAL_PUBLISH_S)
        start = perf_counter()
        reader.read()
        yield Row(f"{n:,} assignments read by another process", perf_counter() - start, "s")
        waits = []
        for i in range(RENAMES):
            start = perf_counter()
            name, before = f"Anna {i}", f"Anna {i - 1}" if i else None
            hosted.apply(ChangeSet(hosted.revision(), USER, "named", (Decision("name", "p-00000", "", name, before),)))
            sure(reader.read().people[PersonId("p-00000")].name == name, "a rename is seen")
            waits.append(perf_counter() - start)
        yield goal_s("a rename until another reader sees it, p95", float(np.percentile(waits, 95)), GOAL_RENAME_S)


def goal_s(row: str, figure: float, most: float, peer: str = "", peer_figure: float | None = None) -> Row:
    ratio = None if peer_figure is None else figure / peer_figure
    return Row(row, figure, "s", peer, peer_figure, ratio, f"at most {most:g} s", figure <= most)


def publish(store: PeopleStore, run: Run) -> float:
    now = store.read()
    live = now.facts.get(("live_run", "", ""))
    people = sorted({owner for owner in run.owner if owner is not None} - now.people.keys())
    said = [Decision("person", person, "", "1", None) for person in people]
    change = ChangeSet(now.revision, USER, "published", (*said, Decision("live_run", "", "", run.id, live)), run)
    start = perf_counter()
    store.apply(change)
    return perf_counter() - start


def a_run(n: int, seed: int) -> Run:
    rng = np.random.default_rng(seed)
    label = rng.integers(-1, n // FACES_A_PERSON, n).astype(np.int32)
    label[0] = 0
    owner = tuple(PersonId(f"p-{one:05}") if one >= 0 else None for one in label.tolist())
    strength = rng.random(n, np.float32)
    return Run(f"run-{seed}", {"epsilon": 0.35, "blur_threshold": 50.0}, "", ids(n), owner, label, strength)


def ids(n: int) -> tuple[Any, ...]:
    return tuple(f"face-{i:07}" for i in range(n))


def batch(n: int) -> FaceBatch:
    faces = synthetic_faces(n, seed=0)
    urls = tuple(f"https://photos.example/{photo}.jpg" for photo in faces.photo.tolist())
    folders = tuple(f"album {i % 40}" for i in range(n))
    unknown = np.full((n, 4), np.nan, np.float32)
    nothing = ("",) * n
    return FaceBatch(
        ids(n), faces.vectors, urls, urls, folders, np.full(n, 120, np.float32), unknown, (b"",) * n, nothing
    )


# --- the servers, each in a process of its own ------------------------------------------------------------------------


@contextmanager
def served(side: Any, *arguments: object) -> Iterator[tuple[str, str]]:
    """Address and key of a server that lasts as long as the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=side, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("enough")
        process.join(20)


def pinecone_side(pipe: Connection, n: int) -> None:
    from servers.pinecone_server import PineconeServer

    faces = batch(n)
    metadata = [
        {"url": url, "folder": folder, "blur_score": 120.0, "face_crop": ""}
        for url, folder in zip(faces.url, faces.folder, strict=True)
    ]
    with PineconeServer() as server:
        server.put(faces.ids, faces.vectors, metadata)
        pipe.send((server.url, server.api_key))
        pipe.recv()


def supabase_side(pipe: Connection) -> None:
    from servers.postgres_server import PostgresServer
    from servers.rest_server import RestServer

    with PostgresServer() as postgres, RestServer(postgres.database()) as rest:
        pipe.send((rest.url, rest.service_key))
        pipe.recv()


if __name__ == "__main__":
    main()
