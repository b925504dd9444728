"""Files that a browser sent: kept below the library until they are imported, then a report in their place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from facecluster.errors import CancelledError, InputError
from facecluster.importing import ImportReport
from facecluster.ports import Progress, part_of

_REPORT = "report.json"
# Refusals that are kept by name; the command line lists all of them.
MOST_NAMED = 100
# Letters of a file's name that are kept: most systems take 255 bytes, and a letter may have four.
_LONGEST = 60
_UNFINISHED = ".part"


@dataclass(frozen=True)
class Uploaded:
    """What became of some files.

    Attributes
    ----------
    added, replaced, unchanged, n_refused, n_without_picture : int
        Faces.
    n_blocked : int
        Faces of people who were erased and may not come back.
    refused, without_picture : tuple[tuple[str, str], ...]
        The first of them, each with its reason.
    problems : tuple[str, ...]
        What could not be read at all, or why it was stopped: sentences.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    n_refused: int = 0
    n_without_picture: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    without_picture: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    n_blocked: int = 0

    def plus(self, one: ImportReport) -> Uploaded:
        """The same with another file."""
        refused = (*self.refused, *((r.face, r.reason) for r in one.refused))
        without = (*self.without_picture, *((r.face, r.reason) for r in one.without_picture))
        return Uploaded(
            self.added + one.added,
            self.replaced + one.replaced,
            self.unchanged + one.unchanged,
            self.n_refused + len(one.refused),
            self.n_without_picture + len(one.without_picture),
            refused[:MOST_NAMED],
            without[:MOST_NAMED],
            self.problems,
            self.n_blocked + one.blocked,
        )

    def told(self, problem: str) -> Uploaded:
        """The same with one more problem."""
        return Uploaded(**{**vars(self), "problems": (*self.problems, problem)})


def keep(root: Path, files: Sequence[tuple[str, BinaryIO]]) -> Path:
    """Write some files, each by its name, into a new folder below `root`; returns the folder.

    Raises
    ------
    InputError
        If they cannot be written; none of them is kept then.
    """
    folder = root / uuid4().hex
    aside = folder.with_suffix(_UNFINISHED)  # another window must not find half of them
    try:
        for number, (name, content) in enumerate(files):
            place = aside / f"{number:03d}"
            place.mkdir(parents=True)
            with (place / _safe(name)).open("wb") as out:
                shutil.copyfileobj(content, out)
        aside.rename(folder)
    except OSError as exc:
        drop(aside)
        raise InputError(
            f"The files cannot be kept in {root}: {exc.strerror}. Nothing was imported. Make room there, then choose "
            "them again."
        ) from exc
    return folder


def _safe(name: str) -> str:
    """A file's name as it is, but for what would lead elsewhere; the ending stays."""
    clean = re.sub(r"[^\w .()+-]", "_", Path(name.replace("\\", "/")).name).strip(" .")
    return clean[-_LONGEST:] or "faces"


def waiting(root: Path) -> list[Path]:
    """Folders of files that are not imported, or whose report nobody has closed; the oldest first."""
    found = [path for path in root.iterdir() if path.is_dir() and not path.suffix] if root.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime)


def import_all(
    folder: Path,
    import_files: Callable[[Sequence[Path], Progress | None], ImportReport],
    progress: Progress | None = None,
) -> None:
    """Import the files of a folder one after the other, delete them, and leave a report; a bad one stops no other.

    Where the store fails, the files stay and there is no report: the same again takes up what was not imported.

    Raises
    ------
    CancelledError
        If it was stopped; the report says what had been imported by then.
    """
    if report_of(folder) is not None:
        return  # another window asked for the same
    paths = sorted(path for path in folder.glob("*/*") if path.is_file())
    done = Uploaded()
    try:
        for number, path in enumerate(paths):
            part = part_of(progress, number / len(paths), (number + 1) / len(paths))
            try:
                done = done.plus(import_files([path], part))
            except InputError as exc:
                text = str(exc)
                done = done.told(text if path.name in text else f"{path.name}: {text}")
    except CancelledError as exc:
        n = done.added + done.replaced
        done = done.told(f"Stopped. {n:,} faces of the files before were imported by then." if n else str(exc))
        _close(folder, paths, done)
        raise CancelledError(done.problems[-1]) from exc
    _close(folder, paths, done)


def _close(folder: Path, paths: Sequence[Path], done: Uploaded) -> None:
    """Leave the report, whole or not at all, and delete the files."""
    aside = folder / f"{_REPORT}{_UNFINISHED}"
    aside.write_text(json.dumps(asdict(done), ensure_ascii=True), "utf-8")
    aside.replace(folder / _REPORT)
    for path in paths:
        shutil.rmtree(path.parent)


def report_of(folder: Path) -> Uploaded | None:
    """What became of the files of a folder; None before that is known."""
    try:
        found = json.loads((folder / _REPORT).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Uploaded(**{key: _tuples(value) for key, value in found.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def drop(folder: Path) -> None:
    """Delete a folder with whatever is left in it."""
    shutil.rmtree(folder, ignore_errors=True)


def drop_all(root: Path) -> None:
    """Delete all that waits below `root`: files not yet imported, halves of some, reports that nobody has closed."""
    if root.is_dir():
        shutil.rmtree(root)
