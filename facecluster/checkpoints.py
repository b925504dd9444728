"""A runner that remembers: arrays in mapped files and finished pieces ticked off, so that a killed build goes on."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
import struct
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np
from numpy.typing import DTypeLike, NDArray

from facecluster.clustering.tiles import Found, ThreadRunner, Work

_RECORD = struct.Struct("<QQI")  # number of the piece, bytes, checksum of the bytes
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RememberingRunner:
    """Runs work on threads and keeps, in a folder, what is needed to go on after the process was killed.

    The system writes mapped pages in any order, so after a crash of the machine itself, not only of the process,
    the folder is not trusted and the work starts anew. The folder is worth nothing once the result is saved.

    Parameters
    ----------
    folder : Path
        Of one computation: everything that its result depends on must be in the name.
    threads : ThreadRunner
        What the pieces run on; another number of threads or block size starts anew.
    """

    def __init__(self, folder: Path, threads: ThreadRunner) -> None:
        self._folder = folder
        self._threads = threads
        folder.mkdir(parents=True, exist_ok=True)
        world = {"boot": _boot(), "workers": threads.workers, "block_rows": threads.block_rows}
        manifest = folder / "manifest.json"
        if not _holds(manifest, world):
            for path in folder.iterdir():
                if path.name != _LOCK:
                    path.unlink()
            aside = folder / "manifest.tmp"
            aside.write_text(json.dumps(world))
            aside.replace(manifest)

    @property
    def block_rows(self) -> int:
        """As of the threads."""
        return self._threads.block_rows

    @property
    def workers(self) -> int:
        """As of the threads."""
        return self._threads.workers

    def product(self, a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """As by the threads."""
        self._threads.product(a, b, out)

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, fill: float) -> NDArray[Any]:
        """An array in a mapped file, with what it held before a crash; see `TileRunner.array`."""
        path = self._folder / f"{name}.bin"
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        if size == 0:
            return np.full(shape, fill, kind)
        if not (path.exists() and path.stat().st_size == size):
            aside = path.with_suffix(".tmp")
            with aside.open("wb") as file:
                # Zeros, without a page written; on a full disk a page without a place would end the process (SIGBUS).
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
            if fill:
                np.memmap(aside, kind, "r+", shape=shape)[...] = fill
            aside.replace(path)
        return np.memmap(path, kind, "r+", shape=shape).view(np.ndarray)

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """Does the pieces that are not done yet; see `TileRunner.carry_out`."""
        number = {item: x for x, item in enumerate(item for items in work.rounds for item in items)}
        ticks = self.array(f"done-{work.name}", (len(number),), np.uint8, 0)
        n_done = int(np.count_nonzero(ticks))
        path = self._folder / f"found-{work.name}.log"
        for piece, found in _read_records(path):
            ticks[piece] = 1
            n_done = max(n_done, 1)
            yield n_done / len(number), found
        n_done = int(np.count_nonzero(ticks))

        def do(item: tuple[int, ...]) -> Found:
            found = work.do(item)
            if not found:
                ticks[number[item]] = 1
            return found

        left = [[item for item in items if not ticks[number[item]]] for items in work.rounds]
        with path.open("ab") as log, contextlib.closing(self._threads.run(do, left)) as pieces:
            for item, found in pieces:
                if found:
                    _write_record(log, number[item], found)
                n_done += 1
                yield n_done / len(number), found


_LOCK = "lock"


@contextlib.contextmanager
def remembering(folder: Path, threads: ThreadRunner) -> Iterator[RememberingRunner | ThreadRunner]:
    """A remembering runner for the one process that works in `folder`; what others get remembers nothing.

    The folder goes when the block ends well, and stays when it does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield threads
            return
        yield RememberingRunner(folder, threads)
        shutil.rmtree(folder, ignore_errors=True)


def _boot() -> str:
    """What is another after every start of the machine."""
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text().strip()
    # Elsewhere: the minute the clock counts from. At worst a clock that was set costs a new start.
    return str(round((time.time() - time.monotonic()) / 60))


def _holds(manifest: Path, world: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(manifest.read_text()) == world)
    except (OSError, ValueError):
        return False


def _write_record(log: IO[bytes], piece: int, found: Found) -> None:
    body = io.BytesIO()
    for array in found:
        np.save(body, array, allow_pickle=False)
    data = body.getvalue()
    log.write(_RECORD.pack(piece, len(data), crc32(data)) + data)
    log.flush()


def _read_records(path: Path) -> Iterator[tuple[int, Found]]:
    """What was found before; a record that a kill cut off is cut away, with all behind it."""
    if not path.exists():
        return
    with path.open("r+b") as log:
        size = os.fstat(log.fileno()).st_size
        while True:
            start = log.tell()
            head = log.read(_RECORD.size)
            if len(head) < _RECORD.size:
                break
            piece, length, checksum = _RECORD.unpack(head)
            data = log.read(length)
            if len(data) < length or crc32(data) != checksum:
                break
            body = io.BytesIO(data)
            found = []
            while body.tell() < length:
                found.append(np.load(body, allow_pickle=False))
            yield piece, tuple(found)
        if start < size:
            log.truncate(start)
