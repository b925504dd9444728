"""Saved neighbours, hierarchies and maps: content-addressed files, written aside and renamed, read without pickle."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tokenize import TokenError
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from facecluster.checkpoints import remembering
from facecluster.clustering import (
    THREADS,
    Hierarchy,
    Neighbours,
    ThreadRunner,
    TileRunner,
    build_hierarchy,
    find_neighbours,
)
from facecluster.clustering.known import row_marks, rows_by_mark
from facecluster.errors import CancelledError, StoreError
from facecluster.ports import Progress, part_of
from facecluster.projection import project

# Part of every file name: a change of what the files mean makes old ones invisible, never misread.
FORMAT = 2
NEIGHBOURS = 16

# One flipped bit in a zip's directory hides arrays without any error, so their number is kept with them.
_COUNT = "number_of_arrays"
_HEAD = 1024  # bytes before an array; numpy writes 128
# What numpy and zipfile raise on damaged files: measured by flipping bits in every byte of two.
_DAMAGE = (
    *(KeyError, ValueError, OSError, EOFError, TypeError, RuntimeError),
    *(
        SyntaxError,
        TokenError,
        zipfile.BadZipFile,
    ),  # the first two of the head of a large array, read before its checksum
)

# A number for each row that says what it holds: by it the faces of an earlier state are found again, in any order.
_MARKS = "row_marks"

# Up to here a build takes about a second, and there is nothing worth going on with.
_WORTH_REMEMBERING = 20_000

# The revision at which somebody was erased last, and what is held while that, or a saved result, is changed.
_ERASED, _LOCK = "erased-at", "lock"

# States of the faces whose results are kept: now, before the last import, and one more.
_STATES_KEPT = 3

Arrays = dict[str, NDArray[np.generic]]


class ComputeCache:
    """Results of long computations in one folder, under what they were computed from."""

    def __init__(self, folder: Path, runner: TileRunner = THREADS) -> None:
        self._folder = folder
        self._runner = runner
        self._moment = threading.local()

    @contextmanager
    def as_of(self, revision: int) -> Iterator[None]:
        """Within, in this thread, results are of the faces as they were at a revision of the people.

        One that is ready only after somebody was erased is not saved: it would be of them too.
        """
        before, self._moment.revision = self._revision, revision
        try:
            yield
        finally:
            self._moment.revision = before

    @property
    def _revision(self) -> int | None:
        found: int | None = getattr(self._moment, "revision", None)
        return found

    def clear(self, erased_at: int) -> None:
        """Drop every saved result, because people were erased at this revision; so will be what others are making."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            aside = self._folder / f"{_ERASED}.tmp"
            aside.write_text(str(erased_at), "ascii")
            aside.replace(self._folder / _ERASED)
            for path in self._folder.iterdir():
                if path.name in (_ERASED, _LOCK):
                    continue
                if path.is_dir():
                    _remove(path)
                else:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_of_the_erased(self) -> bool:
        """Whether somebody was erased since the moment that is worked on."""
        try:
            erased_at = int((self._folder / _ERASED).read_text("ascii"))
        except FileNotFoundError:
            return False
        return self._revision is not None and self._revision < erased_at

    def neighbours(
        self, vectors: NDArray[np.float32], fingerprint: str, k: int, progress: Progress | None = None
    ) -> Neighbours:
        """Exact neighbour lists: read, or made of the lists of an earlier state of these faces, or made anew."""
        name = f"neighbours-{fingerprint}-{k}"

        def make() -> Arrays:
            known, rows = self._known(vectors, k)
            with self._remembering(name, len(vectors)) as runner:
                found = find_neighbours(vectors, k, runner, progress, known=known, known_rows=rows)
            return {**found.to_arrays(), _MARKS: row_marks(vectors)}

        arrays = self._get_or_make(name, make)
        arrays.pop(_MARKS, None)
        self._sweep()
        return Neighbours.from_arrays(arrays)

    def hierarchy(
        self, vectors: NDArray[np.float32], fingerprint: str, min_samples: int, progress: Progress | None = None
    ) -> Hierarchy:
        """The hierarchy, read or made; making it reads or makes the neighbours first."""
        name = f"hierarchy-{fingerprint}-{min_samples}"

        def make() -> Arrays:
            k = max(NEIGHBOURS, min_samples)
            neighbours = self.neighbours(vectors, fingerprint, k, part_of(progress, 0.0, 0.9))
            known, rows = self._known_tree(vectors, fingerprint, min_samples)
            with self._remembering(name, len(vectors)) as runner:
                return build_hierarchy(
                    vectors,
                    min_samples,
                    neighbours,
                    runner,
                    part_of(progress, 0.9, 1.0),
                    known=known,
                    known_rows=rows,
                ).to_arrays()

        return Hierarchy.from_arrays(self._get_or_make(name, make))

    def _remembering(self, name: str, n_faces: int) -> AbstractContextManager[TileRunner]:
        """What runs the tiles of a long computation; short ones start anew, and other runners have their own ways."""
        if n_faces < _WORTH_REMEMBERING or not isinstance(self._runner, ThreadRunner):
            return nullcontext(self._runner)
        return remembering(self._folder / f"{name}-v{FORMAT}.work", self._runner)

    def _known(self, vectors: NDArray[np.float32], k: int) -> tuple[Neighbours, NDArray[np.int64]] | tuple[None, None]:
        """The newest lists of faces most of which are among these, and their rows here."""
        wanted = row_marks(vectors)
        for path in self._newest("neighbours"):
            rows = rows_by_mark(self._marks(path), wanted)
            if path.name.endswith(f"-{k}-v{FORMAT}.npz") and 2 * np.count_nonzero(rows >= 0) > len(wanted):
                arrays = self._load(path)
                if arrays is not None:
                    arrays.pop(_MARKS)
                    return Neighbours.from_arrays(arrays), rows
        return None, None

    def _known_tree(
        self, vectors: NDArray[np.float32], fingerprint: str, min_samples: int
    ) -> tuple[Hierarchy, NDArray[np.int64]] | tuple[None, None]:
        """The newest tree of faces that are all among these, and their rows here."""
        wanted = row_marks(vectors)
        for path in self._newest("neighbours"):
            other = path.name.split("-")[1]
            if other == fingerprint or not self.has_hierarchy(other, min_samples):
                continue
            rows = rows_by_mark(self._marks(path), wanted)
            arrays = self._load(self._path(f"hierarchy-{other}-{min_samples}"))
            if (rows >= 0).all() and 2 * len(rows) > len(wanted) and arrays is not None:
                return Hierarchy.from_arrays(arrays), rows
        return None, None

    def _newest(self, kind: str) -> list[Path]:
        """Files of a kind, newest first."""
        found = [(path.stat().st_mtime_ns, path) for path in self._folder.glob(f"{kind}-*-v{FORMAT}.npz")]
        return [path for _, path in sorted(found, reverse=True)]

    def _marks(self, path: Path) -> NDArray[np.uint64]:
        arrays = self._load(path, only=_MARKS)
        return np.empty(0, np.uint64) if arrays is None else arrays[_MARKS].astype(np.uint64)

    def _sweep(self) -> None:
        """Removes what was made of faces as they were several changes ago."""
        states = list(dict.fromkeys(path.name.split("-")[1] for path in self._newest("neighbours")))
        for fingerprint in states[_STATES_KEPT:]:
            for path in self._folder.glob(f"*-{fingerprint}*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def has_hierarchy(self, fingerprint: str, min_samples: int) -> bool:
        """Whether `hierarchy` answers at once."""
        return self._path(f"hierarchy-{fingerprint}-{min_samples}").is_file()

    def map(
        self, vectors: NDArray[np.float32], fingerprint: str, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Where each face lies on the map, read or made."""

        def make() -> Arrays:
            # Neighbours that are known are read at once; to find them takes several times as long as to draw.
            known = self._path(f"neighbours-{fingerprint}-{NEIGHBOURS}").is_file()
            share = 0.0 if known else 0.7
            knn = self.neighbours(vectors, fingerprint, NEIGHBOURS, part_of(progress, 0.0, share)).knn
            return {"xy": project(vectors, knn.indices, knn.distances, part_of(progress, share, 1.0))}

        return np.asarray(self._get_or_make(f"map-{fingerprint}", make)["xy"], np.float32)

    def has_map(self, fingerprint: str) -> bool:
        """Whether `map` answers at once."""
        return self._path(f"map-{fingerprint}").is_file()

    def stability(self, address: str, make: Callable[[], Mapping[str, NDArray[np.generic]]]) -> Arrays:
        """A stability map, read or made; the address says what it was made from."""
        return self._get_or_make(f"stability-{address}", make)

    def has_stability(self, address: str) -> bool:
        """Whether `stability` answers at once."""
        return self._path(f"stability-{address}").is_file()

    def base(self, key: str) -> NDArray[np.int64] | None:
        """Rows that the hierarchies of these faces are built from, None where none were built yet."""
        arrays = self._load(self._path(f"base-{key}"))
        return None if arrays is None else arrays["rows"].astype(np.int64)

    def base_mark(self, key: str) -> tuple[int, int] | None:
        """Another one whenever `base` may be another one, by whichever process; None where there is none."""
        try:
            known = self._path(f"base-{key}").stat()
        except FileNotFoundError:
            return None
        return known.st_ino, known.st_mtime_ns

    def set_base(self, key: str, rows: NDArray[np.int64]) -> None:
        """Remember the rows, in place of earlier ones."""
        self._save(self._path(f"base-{key}"), {"rows": rows})

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}-v{FORMAT}.npz"

    def _get_or_make(self, name: str, make: Callable[[], Mapping[str, NDArray[np.generic]]]) -> Arrays:
        path = self._path(name)
        found = self._load(path)
        if found is None:
            with _told(self._folder):
                try:
                    found = dict(make())
                except FileNotFoundError as exc:
                    if self._is_of_the_erased():  # and what was kept aside on the way is gone
                        raise erased_meanwhile() from exc
                    raise
            self._save(path, found)
        return found

    def _load(self, path: Path, only: str | None = None) -> Arrays | None:
        try:
            # Opened here: numpy leaves a file open that it finds damaged. One that cannot be opened need not be.
            with _told(self._folder):
                stream = path.open("rb")
        except FileNotFoundError:
            return None
        try:
            with stream, np.load(stream, allow_pickle=False) as file:
                if int(file[_COUNT]) != len(file.files) - 1:
                    raise ValueError("arrays are missing")
                found = {key: file[key] for key in ([only] if only else file.files) if key != _COUNT}
                # A checksum is looked at where an array ends; one whose head says that it is shorter never gets there.
                if any(file.zip.getinfo(f"{key}.npy").file_size > a.nbytes + _HEAD for key, a in found.items()):
                    raise ValueError("an array is cut off")
                return found
        except _DAMAGE:
            with _told(self._folder):
                path.unlink(missing_ok=True)  # damaged; everything here can be computed again
            return None

    def _save(self, path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        aside = self._folder / f".{uuid4().hex}.tmp"
        with _told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    np.savez(file, allow_pickle=False, **arrays, **{_COUNT: np.int64(len(arrays))})
                    file.flush()
                    os.fsync(file.fileno())
                with self._alone():
                    if not self._is_of_the_erased():
                        aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)


def erased_meanwhile() -> CancelledError:
    """What is told of a computation whose parts are not there any more, because they were of somebody erased."""
    return CancelledError(
        "Somebody was erased while this was computed. It was stopped, and nothing was changed. Start it again."
    )


# Somebody may be making a file in it at this moment; without the folder they cannot make another.
@retry(retry=retry_if_exception_type(OSError), stop=stop_after_delay(5), wait=wait_fixed(0.02), reraise=True)
def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say in a sentence what the disk refused. That a file is not there is for the caller to know."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise StoreError(
            f"What was computed cannot be kept in {folder}: {exc.strerror or exc}. Nothing was changed: faces, people "
            "and names are as before. Make room on the disk, or mend the folder's rights, then try again."
        ) from exc
