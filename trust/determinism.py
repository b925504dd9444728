"""R21: the same faces give the same clusters and the same bytes, whatever the order, threads, shards and process."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from facecluster import projection, wiring
from facecluster.clustering import ExtractionParams, Hierarchy, RowFacts, ThreadRunner, TileRunner, extract, refine
from facecluster.clustering.tiles import Work
from facecluster.compute import ComputeCache
from facecluster.distributed import DaskRunner
from facecluster.hierarchies import Hierarchies, Params
from facecluster.service import Service
from trust.measure import Found, Measure

THREADS = (1, 2)
SHARDS = (0, 1, 4, 8)  # 0 stands for no cluster: threads of this process alone
N_ORDERS = 20
_ORDERS_AT_ONCE = 5  # of which a cluster and a fresh process, and a look at the time, come each
AS_THEY_STAND = -1  # the number of the order that the others are measured by
HERE, READ, ANEW = "in the process", "read by a fresh process", "made anew by a fresh process"
RESTARTS = (HERE, READ, ANEW)
_FORMS = ("arrays", "library")
GRID = tuple(tuple((n_threads, n_shards) for n_shards in SHARDS) for n_threads in THREADS)
GOAL = len(_FORMS) * N_ORDERS * len(THREADS) * len(SHARDS) * len(RESTARTS)

# As many distinct rows as eight shards of whole tiles of 256 hold, and enough to be laid out by likeness.
_DISTINCT = 2_048
_DIMENSION = 64
_MIN_SAMPLES = 3
_SETTINGS = (
    ExtractionParams(2, 0.0, "eom"),
    ExtractionParams(3, 0.35, "eom"),
    ExtractionParams(5, 0.9, "eom"),
    ExtractionParams(2, 0.9, "leaf"),
    ExtractionParams(3, 0.35, "leaf"),
    ExtractionParams(2, 0.8, "cut"),
)
_REFINED = ExtractionParams(3, 0.35, "eom")

_FACES_IN_LIBRARY = 400
_IN_LIBRARY = Params(_MIN_SAMPLES, 3, 0.35, "eom", 50.0)
_IMPORTS = (3, 1, 5)  # how many bring a library's faces, in turn from order to order
_SPAWN = multiprocessing.get_context("spawn")  # Python from the start, with hashes of text of its own

# What is no result but how the work went: how many pairs were looked at, in which order, and what that excluded. It
# may differ between kernels of BLAS, and where the lists of earlier faces were gone on with.
_WORK = {"pairs_examined", "rank", "position", "copies", "copies_from", "near", "apart", "bounds", "tile_width"}


# --- the faces -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces among which much is equal.

    Attributes
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, 64), unit rows.
    photo : NDArray[np.int32]
        Shape (n_faces,).
    content : NDArray[np.int64]
        Shape (n_faces,): equal numbers are equal bytes.
    """

    vectors: NDArray[np.float32]
    photo: NDArray[np.int32]
    content: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)


def faces(seed: int, distinct: int = _DISTINCT) -> Faces:
    """People, bursts, strangers, rows of few numbers (exact ties everywhere), zeros of either sign, and copies.

    Some bursts lie two and two: all whom a list names are of the burst itself, so that only the second pass finds the
    edge from one to the other.
    """
    from clustering.face_sets import burst, grid, people, strangers, unit

    rng = np.random.default_rng(seed)
    known = people(rng, distinct * 5 // 8, _DIMENSION, distinct // 16)
    zero = known[:6] * (np.arange(_DIMENSION) > 0)
    minus = unit(zero)
    minus[:, 0] = -0.0
    tied = [grid(rng, distinct // 8, _DIMENSION), unit(zero), minus]
    bursts = [burst(rng, distinct // 40, _DIMENSION, apart) for apart in (1e-3, 1e-4)]
    middles = np.repeat(strangers(rng, distinct // 400, _DIMENSION), 2, axis=0)
    middles = np.repeat(unit(middles + 0.5 * strangers(rng, len(middles), _DIMENSION)), 24, axis=0)
    in_twos = unit(middles + 0.2 * rng.uniform(size=(len(middles), 1)) * strangers(rng, len(middles), _DIMENSION))
    some = np.concatenate([known, *bursts, in_twos, *tied])
    _, first = np.unique(some.view(np.uint32), axis=0, return_index=True)
    once = np.concatenate([some[np.sort(first)], strangers(rng, distinct - len(first), _DIMENSION)])
    many = np.repeat(once[rng.integers(0, distinct, 4)], 15, axis=0)
    vectors = np.concatenate([once, once[rng.integers(0, distinct, distinct // 5)], many, minus[:3], once[-5:]])
    photo = rng.integers(0, len(vectors) // 3, len(vectors)).astype(np.int32)
    content = np.unique(vectors.view(np.uint32), axis=0, return_inverse=True)[1].ravel()
    return Faces(vectors, photo, content)


def order_of(found: Faces, seed: int, number: int) -> NDArray[np.int64]:
    """Order `number`, shape (n_faces,); in every second one, copies of one row stand as they stood."""
    if number == AS_THEY_STAND:
        return np.arange(len(found))
    order = np.random.default_rng((seed, number)).permutation(len(found))
    if keeps_copies(number):
        by_content = np.argsort(found.content[order], kind="stable")
        order[by_content] = np.lexsort((np.arange(len(found)), found.content))
    return order


def keeps_copies(number: int) -> bool:
    return number == AS_THEY_STAND or number % 2 == 1


# --- how the work is done --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """What a clustering may not depend on: threads, shards (0 for no cluster), and where the cluster is."""

    threads: int
    shards: int = 0
    scheduler: str = ""

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.shards or 'no'} shards"

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.threads}-{self.shards}"

    def runner(self, folder: Path) -> TileRunner:
        """What runs the tiles; arrays travel through `folder`."""
        here = ThreadRunner(self.threads)
        if not self.shards:
            return here
        return DaskRunner(self.scheduler, folder, self.shards, here, blas_threads=self.threads)

    @contextmanager
    def set_up(self, folder: Path) -> Iterator[TileRunner]:
        """Within, a library computes so, and BLAS has so many threads where nobody says how many."""
        runner = self.runner(folder)
        with (
            threadpool_limits(self.threads, user_api="blas"),
            mock.patch.object(wiring, "runner_for", return_value=runner),
            mock.patch.object(projection, "usable_cores", return_value=self.threads),
        ):
            yield runner


class Idle(ThreadRunner):
    """Stands where a saved result is read."""

    def carry_out(self, work: Work) -> NoReturn:
        """Refuses: nothing may be computed."""
        raise AssertionError(f"what was saved was computed again: {work.name}")


@contextmanager
def cluster(threads: int, folder: Path) -> Iterator[str]:
    """The address of a scheduler with one worker of so many task threads."""
    import distributed

    options = {"nthreads": threads, "memory_limit": 0, "silence_logs": 50, "local_directory": str(folder)}
    workers = {0: {"cls": distributed.Nanny, "options": options}}
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1"}}
    with distributed.SpecCluster(workers, scheduler, silence_logs=50) as running:
        yield str(running.scheduler_address)


# --- what came of it -------------------------------------------------------------------------------------------------

# What came of a case, by part: a hash of each.
Outcome = dict[str, str]


def hashed(*parts: object) -> str:
    """SHA-256 of arrays and of what prints the same where it is the same."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def renumbered(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The numbers that clusters have by the rule: by size, largest first, then by smallest row; shape (n_faces,)."""
    known, first, number, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    by_rule = np.lexsort((first, -size, known < 0))
    place = np.empty(len(known), np.int64)
    place[by_rule] = np.arange(len(known))
    place[known < 0] = -1
    return place[number.ravel()]


def of_arrays(found: Faces, number: int, order: NDArray[np.int64], h: Hierarchy, folder: Path) -> Outcome:
    """What came of rows in some order, each part told so that the order has no share in it; and the saved bytes.

    Rows that a tree or a list names are named by what they hold, for copies of one row are one as another to it. Labels
    and strengths are each face's own, copies included.
    """
    back = np.argsort(order)
    what = found.content[order]
    counts = (h.certificate.edges_by_lists, h.certificate.edges_by_second_pass, h.certificate.edges_of_copies)
    out = {
        "the tree": hashed(what[h.mst.u], what[h.mst.v], h.mst.weight, h.mst.distance, *counts),
        "the lists": hashed(what[h.knn.indices][back], h.knn.distances[back], h.core_distances[back]),
    }
    for setting in _SETTINGS:
        clusters = extract(h, setting)
        key = f"labels or strengths of {setting.method} {setting.min_cluster_size} {setting.epsilon}"
        out[key] = hashed(renumbered(clusters.labels[back]), clusters.strength[back])
    facts = {"people": RowFacts()}
    # Of copies in different photos, that one is taken first which stands first: in a library, by its id.
    if keeps_copies(number):
        facts["people by photos"] = RowFacts(photo=found.photo[order])
    for key, known in facts.items():
        refined = refine(h, extract(h, _REFINED), found.vectors[order], known)
        why = dict(zip(order[refined.changed].tolist(), refined.reasons, strict=True))
        out[key] = hashed(renumbered(refined.labels[back]), sorted(why.items()), sorted(refined.counts.items()))
    files = sorted(folder.glob("*.npz"))
    out[f"what was saved of order {number}"] = hashed(*(part for path in files for part in saved_in(path)))
    return out


def saved_in(path: Path) -> list[object]:
    """The results in a saved file, name by name."""
    with np.load(path, allow_pickle=False) as file:
        return [path.name, *(part for key in sorted(set(file.files) - _WORK) for part in (key, file[key]))]


def of_library(service: Service, folder: Path, with_map: bool) -> Outcome:
    """What a library holds but for the times of day: faces, clusters, people, and what was computed of them."""
    view = service.view()
    run = view.snapshot.run
    assert run is not None
    columns = [view.faces.ids, view.faces.photo, view.faces.url, view.faces.folder, view.faces.blur_score]
    (user,) = {path.parent for path in folder.rglob("library.db")}
    rows, fingerprint = Hierarchies(ComputeCache(user / "cache", Idle())).require_base(view, 50.0)
    cached = [path for kind in ("neighbours", "hierarchy") for path in user.glob(f"cache/{kind}-{fingerprint}-*.npz")]
    (vectors,) = user.glob("vectors.*.f32")
    out = {
        "the fingerprint": view.faces.fingerprint,
        "the faces": hashed(*columns, hashlib.sha256(vectors.read_bytes()).hexdigest()),
        "which faces are clustered": hashed(rows, fingerprint),
        "the run's id": run.id,
        "the run": hashed(run.owner, run.label, run.strength, sorted(run.reason.items()), run.questions),
        "what is said of people": hashed(sorted(view.snapshot.facts.items())),
        "a plan after it": hashed(*(part for line in service.plan(_IN_LIBRARY).lines for part in line)),
        "what was computed": hashed(*(part for path in cached for part in saved_in(path))),
    }
    if with_map:
        out["the map"] = hashed(*service.map())
        out["the map of settings"] = hashed(*sorted(service.stability(_IN_LIBRARY).to_arrays().items()))
    return out


# --- the cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Cases that are done one after the other, and once more by a fresh process."""

    seed: int
    engines: tuple[Engine, ...]
    orders: tuple[int, ...]
    with_map: bool
    folder: Path

    def done(self, restart: str) -> Iterator[tuple[str, Outcome]]:
        """Each case, and what came of it."""
        found, few = faces(self.seed), faces(self.seed, _FACES_IN_LIBRARY)
        made = self.folder / ("anew" if restart == ANEW else "here")
        for engine, number in itertools.product(self.engines, self.orders):
            place = made / engine.name / str(number)
            place.mkdir(parents=True, exist_ok=True)
            with engine.set_up(self.folder / "shared") as runner:
                order = order_of(found, self.seed, number)
                cache = ComputeCache(place / "arrays", Idle() if restart == READ else runner)
                h = cache.hierarchy(found.vectors[order], "faces", _MIN_SAMPLES)
                case = f"order {number}, {engine}, {restart}"
                yield f"arrays, {case}", of_arrays(found, number, order, h, place / "arrays")
                yield f"library, {case}", self._library(few, number, place, restart)

    def _library(self, few: Faces, number: int, place: Path, restart: str) -> Outcome:
        with_map = self.with_map and number == self.orders[0]
        if restart == READ:
            with mock.patch.object(wiring, "runner_for", return_value=Idle()):
                return of_library(opened(place), place, with_map)
        return of_library(filled(few, self.seed, number, place), place, with_map)


def opened(place: Path) -> Service:
    from small_library import open_library

    return open_library(place / "library")


def filled(few: Faces, seed: int, number: int, place: Path) -> Service:
    """A library of these faces, brought in some order by several imports, with a plan made after each; published."""
    service = opened(place)
    n_imports = 1 if number == AS_THEY_STAND else _IMPORTS[number % len(_IMPORTS)]
    for at, rows in enumerate(np.array_split(order_of(few, seed, number), n_imports)):
        path = place / f"{at}.npz"
        np.savez(
            path,
            ids=np.array([f"face-{row:04d}" for row in rows]),
            vectors=few.vectors[rows],
            url=np.array([f"https://img.example/{few.photo[row]}.jpg" for row in rows]),
            folder=np.array([("2023", "2024", "")[row % 3] for row in rows]),
            blur_score=np.where(rows % 50 == 0, 10.0, 200.0).astype(np.float32),
        )
        service.import_files([path])
        plan = service.plan(_IN_LIBRARY, author="trust")
    service.publish(plan)
    return service


def done_in(block: Block, restarts: tuple[str, ...]) -> list[tuple[str, Outcome]]:
    return [case for restart in restarts for case in block.done(restart)]


def by_a_fresh_process(block: Block) -> list[tuple[str, Outcome]]:
    """What a process that knows nothing of this one reads of the cases, and makes anew."""
    with ProcessPoolExecutor(1, _SPAWN) as process:
        return process.submit(done_in, block, (READ, ANEW)).result()


def everywhere(
    seed: int,
    seconds: float,
    n_orders: int = N_ORDERS,
    grid: tuple[tuple[tuple[int, int], ...], ...] = GRID,
    with_map: bool = True,
) -> Found:
    """Every order with each of some threads and shards, here and in a fresh process, against one that is done first.

    Parameters
    ----------
    grid : tuple of tuples of (threads, shards)
        What to go through with some orders after the other. Each of its tuples then has a cluster, and a fresh process,
        of its own.
    with_map : bool
        Also draw the map of the first library of each, and the map of its settings.
    """
    found, expected = Found(), Expected()
    end = time.monotonic() + seconds
    few_at_once = [tuple(range(n_orders)[at : at + _ORDERS_AT_ONCE]) for at in range(0, n_orders, _ORDERS_AT_ONCE)]
    tried: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as name:
        expected.of_the_plainest(seed, Path(name) / "first", with_map)
        for at, (orders, pairs) in enumerate(itertools.product(few_at_once, grid)):
            folder = Path(name) / str(at)
            (folder / "shared").mkdir(parents=True)
            with cluster(max(n_threads for n_threads, _ in pairs), folder) as scheduler:
                engines = tuple(Engine(n_threads, n_shards, scheduler) for n_threads, n_shards in pairs)
                block = Block(seed, engines, orders, with_map, folder)
                for case, outcome in [*block.done(HERE), *by_a_fresh_process(block)]:
                    found.n += 1
                    if wrong := expected.others(case.split(",")[0], outcome):
                        found.failures.append(f"seed {seed}, {case}: another result in {', '.join(wrong)}")
            shutil.rmtree(folder)
            tried += pairs
            if time.monotonic() >= end:
                break
    found.note = (
        f"{orders[-1] + 1} orders of faces with copies and exact ties, as arrays and as libraries, imported in 1, 3 or "
        f"5 parts; {said(tried)}; here, read and made anew by a fresh process. Not compared: how the work went (pairs "
        "examined, bounds). Of copies that only photos tell apart the first is taken first: in a library, by its id"
    )
    return found


def said(pairs: list[tuple[int, int]]) -> str:
    """Which threads and shards there are."""
    threads, shards = (sorted(set(some)) for some in zip(*pairs, strict=True))
    return f"threads {', '.join(map(str, threads))}; shards {', '.join(str(n) if n else 'none' for n in shards)}"


class Expected:
    """What each part has to be: as it was when it was first made."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], str] = {}

    def of_the_plainest(self, seed: int, place: Path, with_map: bool) -> None:
        """Faces as they stand, one thread, no cluster, one import."""
        place.mkdir()
        found, few = faces(seed), faces(seed, _FACES_IN_LIBRARY)
        with Engine(1).set_up(place) as runner:
            h = ComputeCache(place / "arrays", runner).hierarchy(found.vectors, "faces", _MIN_SAMPLES)
            as_they_stand = order_of(found, seed, AS_THEY_STAND)
            self.others("arrays", of_arrays(found, AS_THEY_STAND, as_they_stand, h, place / "arrays"))
            library = filled(few, seed, AS_THEY_STAND, place)
            self.others("library", of_library(library, place, with_map))

    def others(self, form: str, outcome: Mapping[str, str]) -> list[str]:
        """Parts that are not as they were."""
        return [part for part, what in outcome.items() if self._parts.setdefault((form, part), what) != what]


MEASURES = [
    Measure(
        "R21",
        "The same faces give the same clusters, the same people and the same saved bytes",
        "cases",
        GOAL,
        1.0,
        everywhere,
    )
]
