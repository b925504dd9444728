"""Tiles on the machines of a Dask cluster: tasks carry ranges, arrays travel as files of a folder that all can see.

Needs the package `distributed` (requirements-cluster.txt), which is imported when the first work is sent out.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import threadpool_limits

from facecluster import __version__
from facecluster.clustering.tiles import THREADS, Elsewhere, Found, Product, ThreadRunner, Work, blas_product
from facecluster.errors import ConfigError, WorkersError

if TYPE_CHECKING:
    import distributed

Item = tuple[int, ...]
Device = Literal["cpu", "cuda"]

# A part of two ranges of this length takes a task about 0.7 GB of memory and, on one core, a minute or two.
_MOST_ROWS = 131_072
# Parts for each thread of the cluster, at least, so that all have something to do until the end.
_PARTS_PER_THREAD = 4
# Parts sent out for each thread: one is being done, one waits.
_AHEAD = 2
# How often the caller hears from us while parts take long, and can stop.
_LIFE_S = 0.5
# How long a scheduler may take to answer, the first worker to join it, and a cluster that lost all its workers to
# get one back.
_ANSWER_S = 10
_PATIENCE_S = 60.0
# Versions of what becomes sharper while parts are merged.
_VERSIONS = 50


@dataclass(frozen=True)
class Task:
    """All that is sent to a worker for one part: names and numbers, never an array."""

    part: Any
    folder: str
    files: tuple[tuple[str, str], ...]
    item: Item
    blas_threads: int
    device: Device


class DaskRunner:
    """Runs what can be done elsewhere on a Dask cluster, and the rest on threads of this process.

    Parameters
    ----------
    scheduler : str or distributed.Client
        Address of the scheduler; connected to for each stage. A client is used as it is and stays open.
    folder : str or Path
        A folder that this process and all workers see under the same name: a path, or a URL that fsspec knows.
    shards : int or None
        Ranges into which the faces are cut; as many as suit the cluster where left out.
    threads : ThreadRunner
        What the rest runs on.
    blas_threads : int
        Threads of a product in a task. One, unless workers have fewer task threads than cores.
    device : "cpu" or "cuda"
        What the workers make products on.
    """

    def __init__(
        self,
        scheduler: str | distributed.Client,
        folder: str | Path,
        shards: int | None = None,
        threads: ThreadRunner = THREADS,
        *,
        blas_threads: int = 1,
        device: Device = "cpu",
    ) -> None:
        self._scheduler = scheduler
        self._folder = str(folder)
        self._shards = shards
        self._threads = threads
        self._blas_threads = blas_threads
        self._device: Device = device

    @property
    def block_rows(self) -> int:
        """As suits the workers."""
        if self._device == "cuda":
            from facecluster.cuda import BLOCK_ROWS

            return BLOCK_ROWS
        return self._threads.block_rows

    @property
    def workers(self) -> int:
        """As of the threads here."""
        return self._threads.workers

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, fill: float) -> NDArray[Any]:
        """An array in memory; see `TileRunner.array`."""
        return self._threads.array(name, shape, dtype, fill)

    def product(self, a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """As by the threads here."""
        self._threads.product(a, b, out)

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """Sends the parts out and merges what comes back; see `TileRunner.carry_out`."""
        if work.elsewhere is None:
            yield from self._threads.carry_out(work)
            return
        with _in_one_sentence(self._name), self._connected() as client:
            folder = SharedFolder(self._folder, f"facecluster-{work.name}-{uuid4().hex}")
            try:
                _meet(client, folder)
                yield from self._send_out(client, folder, work.name, work.elsewhere)
            finally:
                folder.remove()

    @property
    def _name(self) -> str:
        return self._scheduler if isinstance(self._scheduler, str) else str(self._scheduler.scheduler.address)

    def _connected(self) -> AbstractContextManager[Any]:
        if not isinstance(self._scheduler, str):
            return nullcontext(self._scheduler)
        if not self._folder:
            raise ConfigError(
                f"The scheduler {self._scheduler} is set, but no folder that its workers see. Nothing was computed. "
                "Set FACECLUSTER_SHARED_FOLDER to one, or leave FACECLUSTER_SCHEDULER empty to work on threads."
            )
        try:
            import distributed
        except ModuleNotFoundError as exc:
            raise ConfigError(
                f"The scheduler {self._scheduler} is set, but the package distributed is not installed. Nothing was "
                "computed. Install requirements-cluster.txt, or leave FACECLUSTER_SCHEDULER empty to work on threads."
            ) from exc
        try:
            distributed.comm.resolve_address(self._scheduler)  # refuses at once what a client tries in vain
            client: AbstractContextManager[Any]
            client = distributed.Client(self._scheduler, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as exc:
            raise ConfigError(
                f"No Dask scheduler answers at {self._scheduler!r} ({exc}). Nothing was computed. Start it, correct "
                "FACECLUSTER_SCHEDULER, or leave it empty to work on threads."
            ) from exc
        return client

    def _send_out(
        self, client: distributed.Client, folder: SharedFolder, stage: str, elsewhere: Elsewhere
    ) -> Generator[tuple[float, Found]]:
        n_threads = sum(client.nthreads().values())
        rounds = elsewhere.rounds(self._shards or _suitable_shards(elsewhere.n_positions, n_threads))
        total = sum(map(len, rounds))
        if not total:
            return
        files = _Files(folder, elsewhere, max(n_threads, total // _VERSIONS))
        done = 0
        for items in rounds:
            for item, path in self._round(client, folder, stage, elsewhere.part, files, items):
                if item is None:
                    yield done / total, ()
                else:
                    found = folder.read_result(path)
                    done += 1
                    files.n_merged += 1
                    yield done / total, elsewhere.merge(item, found)

    def _round(
        self,
        client: distributed.Client,
        folder: SharedFolder,
        stage: str,
        part: Any,
        files: _Files,
        items: Sequence[Item],
    ) -> Generator[tuple[Item | None, str]]:
        """Yields each item and where its result lies, as they come; (None, "") while nothing does."""
        waiting = deque(items)
        running: dict[distributed.Future, Item] = {}
        cluster = _Watch(client)
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * cluster.n_threads:
                    item = waiting.popleft()
                    task = Task(part, folder.url, files.current(), item, self._blas_threads, self._device)
                    key = f"facecluster-{stage}-{'-'.join(map(str, item))}-{uuid4().hex}"
                    running[client.submit(do, task, key=key, pure=False, retries=2)] = item
                path = ""
                for future in _some_finished(client, running):
                    if path := _result(future):
                        yield running.pop(future), path
                if not path:
                    cluster.look()
                    yield None, ""
        finally:
            client.cancel(list(running), force=True)


class _Files:
    """Names of the files that a part reads; those that become sharper are written anew from time to time."""

    def __init__(self, folder: SharedFolder, elsewhere: Elsewhere, every: int) -> None:
        self._folder = folder
        self._elsewhere = elsewhere
        self._every = every
        self._lasting = tuple((name, folder.write(name, array)) for name, array in elsewhere.inputs().items())
        self._latest: tuple[tuple[str, str], ...] = ()
        self._written_at = -every
        self.n_merged = 0

    def current(self) -> tuple[tuple[str, str], ...]:
        """(name, file) of each input."""
        if self.n_merged - self._written_at >= self._every:
            self._written_at = self.n_merged
            self._latest = tuple((name, self._folder.write(name, a)) for name, a in self._elsewhere.current().items())
        return self._lasting + self._latest


class _Watch:
    """How many threads the cluster has now, and whether it still has any."""

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._alive_at = time.monotonic()
        self.n_threads = 1
        self.look()

    def look(self) -> None:
        n_threads = sum(self._client.nthreads().values())
        now = time.monotonic()
        if n_threads:
            self.n_threads, self._alive_at = n_threads, now
        elif now - self._alive_at > _PATIENCE_S:
            raise WorkersError(
                f"The scheduler {self._client.scheduler.address} has had no worker for {_PATIENCE_S:.0f} seconds. The "
                "work was given up, and nothing was changed. Start workers, then start it again."
            )


def _some_finished(client: distributed.Client, running: Mapping[distributed.Future, Item]) -> list[distributed.Future]:
    from distributed import wait

    with suppress(TimeoutError), client.as_current():
        finished = wait(list(running), timeout=_LIFE_S, return_when="FIRST_COMPLETED").done
        return [future for future in running if future in finished]
    return []


def _result(future: distributed.Future) -> str:
    """What came of a part; "" where the worker that knows it does not say, and perhaps never will."""
    if future.status == "error":
        future.result()  # raises
    try:
        return str(future.result(timeout=_LIFE_S))
    except TimeoutError:
        return ""


def _suitable_shards(n_positions: int, n_threads: int) -> int:
    shards = max(1, -(-n_positions // _MOST_ROWS))
    while shards * (shards + 1) // 2 < _PARTS_PER_THREAD * n_threads:
        shards += 1
    return shards


def do(task: Task) -> str:
    """One part, on a worker; the name of the file with what it found."""
    _set_blas_threads(task.blas_threads)
    folder = SharedFolder(task.folder)
    inputs = {name: folder.open(file) for name, file in task.files}
    return folder.write_result(task.part(inputs, task.item, _product_on(task.device)))


_blas_threads: list[int] = []


def _set_blas_threads(n: int) -> None:
    """For the whole process, and to stay: limits that tasks on several threads take back undo each other."""
    if _blas_threads != [n]:
        threadpool_limits(n, user_api="blas")
        _blas_threads[:] = [n]


@cache
def _product_on(device: Device) -> Product:
    if device == "cpu":
        return blas_product
    from facecluster.cuda import CudaRunner

    return CudaRunner().product


class SharedFolder:
    """Arrays as .npy files in a folder of one stage.

    No file is read before its name is told to somebody, and that is when it is whole: so nothing needs to be renamed,
    which object stores cannot do.

    Parameters
    ----------
    base : str
        A path or a URL that fsspec knows.
    name : str
        Of the folder in it, made where there is none.
    """

    def __init__(self, base: str, name: str = "") -> None:
        from fsspec.core import url_to_fs

        self.url = f"{base.rstrip('/')}/{name}" if name else base
        try:
            self._files, self._root = url_to_fs(self.url)
        except (ValueError, ImportError) as exc:
            raise ConfigError(
                f"{base} cannot be used as a shared folder: {exc}. Nothing was computed. "
                "Set FACECLUSTER_SHARED_FOLDER to a path, or to a URL that fsspec knows."
            ) from exc
        self._is_local = "file" in self._files.protocol
        if self._is_local:
            self.url = str(self._root)  # absolute: workers run elsewhere
        if name:
            self._files.makedirs(self._root, exist_ok=True)

    def write(self, name: str, array: NDArray[Any]) -> str:
        """Writes an array to a new file; its name."""
        file = f"{name}-{uuid4().hex}.npy"
        with self._files.open(f"{self._root}/{file}", "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        return file

    def open(self, file: str) -> Any:
        """What can be sliced along the first axis; only what is sliced is read."""
        path = f"{self._root}/{file}"
        if self._is_local:
            # Private pages: what is compiled for arrays that may be written serves these as well.
            return np.load(path, mmap_mode="c", allow_pickle=False).view(np.ndarray)
        return _RemoteArray(self._files, path)

    def write_result(self, found: Found) -> str:
        """Writes what a part found; the file's name."""
        body = io.BytesIO()
        np.savez(body, allow_pickle=False, **{str(x): array for x, array in enumerate(found)})
        file = f"found-{uuid4().hex}.npz"
        self._files.pipe_file(f"{self._root}/{file}", body.getvalue())
        return file

    def read_result(self, file: str) -> Found:
        """What `write_result` wrote, which goes."""
        path = f"{self._root}/{file}"
        with np.load(io.BytesIO(self._files.cat_file(path)), allow_pickle=False) as arrays:
            found = tuple(arrays[str(x)] for x in range(len(arrays.files)))
        self._files.rm_file(path)
        return found

    def remove(self) -> None:
        """Removes the folder; a part that is still running may leave a file or fail, and nobody reads either."""
        with suppress(OSError):
            self._files.rm(self._root, recursive=True)


class _RemoteArray:
    """An .npy file in an object store, of which slices along the first axis are read."""

    def __init__(self, files: Any, path: str) -> None:
        self._files, self._path = files, path
        with files.open(path, "rb", block_size=1 << 16) as stream:
            version = np.lib.format.read_magic(stream)
            assert version == (1, 0)  # noqa: S101  (no structured types here)
            self.shape, is_fortran, self.dtype = np.lib.format.read_array_header_1_0(stream)
            assert not is_fortran  # noqa: S101
            self._from = stream.tell()

    def __getitem__(self, which: slice) -> NDArray[Any]:
        return _whole(self) if which == slice(None) else self.read(*which.indices(self.shape[0])[:2])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _RemoteArray) and (self._files, self._path) == (other._files, other._path)

    def __hash__(self) -> int:
        return hash(self._path)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start..stop, and no byte more."""
        row = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        data = self._files.cat_file(self._path, self._from + start * row, self._from + stop * row)
        return np.frombuffer(bytearray(data), self.dtype).reshape(-1, *self.shape[1:])


@lru_cache(maxsize=2)
def _whole(array: _RemoteArray) -> NDArray[Any]:
    """What every part of a stage reads whole is fetched once by each worker: 2 GB at ten million faces."""
    return array.read(0, array.shape[0])


def see(url: str, file: str) -> tuple[str, list[int]]:
    """What a worker sees of the folder, and which facecluster it is."""
    return __version__, SharedFolder(url).open(file)[:].tolist()


def _meet(client: distributed.Client, folder: SharedFolder) -> None:
    """Refuses a cluster whose workers are missing, another version, or cannot see the folder."""
    try:
        client.wait_for_workers(1, timeout=_ANSWER_S)
    except TimeoutError as exc:
        raise WorkersError(
            f"The scheduler {client.scheduler.address} has no worker. Nothing was computed. Start workers "
            f"(`python -m dask worker {client.scheduler.address}`), then start it again."
        ) from exc
    from distributed.comm import CommClosedError

    token = list(uuid4().bytes)
    file = folder.write("token", np.array(token, np.int64))
    answers = client.run(see, folder.url, file, on_error="return")
    for worker, answer in answers.items():
        # One that dies at this moment is the scheduler's business.
        if answer != (__version__, token) and not isinstance(answer, CommClosedError):
            raise ConfigError(_refusal(worker, answer, folder.url))


def _refusal(worker: str, answer: object, url: str) -> str:
    if isinstance(answer, tuple) and answer[0] != __version__:
        return (
            f"The worker {worker} has facecluster {answer[0]}, not {__version__}. Nothing was computed. "
            "Install the same version everywhere."
        )
    if isinstance(answer, OSError | tuple):
        return (
            f"The worker {worker} does not see the folder {url}. Nothing was computed. Set "
            "FACECLUSTER_SHARED_FOLDER to one that this machine and all workers have under the same name."
        )
    return (
        f"The worker {worker} cannot run facecluster ({type(answer).__name__}: {answer}). Nothing was computed. "
        f"Install facecluster {__version__} with requirements-cluster.txt there, or start the worker in its folder."
    )


@contextmanager
def _in_one_sentence(scheduler: str) -> Iterator[None]:
    """Errors of the cluster as errors that a curator can be told about."""
    try:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError, FuturesCancelledError
        from distributed.comm import CommClosedError
    except ModuleNotFoundError:
        yield  # `_connected` says so
        return
    try:
        yield
    except KilledWorker as exc:
        raise WorkersError(
            f"Workers of {scheduler} died again and again over the same part of the work, mostly for want of memory. "
            "The work was given up, and nothing was changed. Give each task thread 2 GB, or take fewer of them."
        ) from exc
    except (CommClosedError, FutureCancelledError, FuturesCancelledError, TimeoutError) as exc:
        raise WorkersError(
            f"The scheduler {scheduler} was lost. The work was given up, and nothing was changed. Start it again."
        ) from exc
    except OSError as exc:
        raise WorkersError(
            f"A file of the shared folder could not be written or read: {exc}. The work was given up, and nothing was "
            f"changed. Look whether the folder is full, and seen by every worker of {scheduler}."
        ) from exc
