"""Makes a library of the files that `open_export` wrote, and believes none of them: all is checked on the way in."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from facecluster.contents import DEFINITION, contents
from facecluster.errors import InputError
from facecluster.images import MAX_BYTES, checked_crop
from facecluster.importing import MAX_PIXEL, bad_id
from facecluster.model import ChangeRecord, Decision, FaceBatch, Kind, PersonId, Question, Run, RunRecord, UserId
from facecluster.open_export import (
    CROPS,
    FACES,
    FORMAT,
    HEAD,
    JSON_FILES,
    RUN_FACES,
    RUN_SCHEMA,
    crop_name,
    faces_schema,
    sha256_of,
)
from facecluster.ports import Progress, part_of
from facecluster.restoring import empty_user_folder, put_in_place
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore, adopt

_MAX_DIMENSION, _MAX_TEXT, _MAX_JSON, _MAX_HEAD = 4_096, 1_000_000, 2**31, 2**20
_ROWS = 4_096
_NOT_UNIT = 1e-3
_CROP = re.compile(CROPS + r"/[0-9a-f]{2}/[0-9a-f]{64}\.(jpg|png|webp)")
_VALUES = {
    **dict.fromkeys(("person", "hidden", "not_person"), ("1",)),
    "mark": ("ignored", "not_a_face"),
    "link": ("same", "different"),
}
_T = TypeVar("_T")
# What pyarrow raises on damaged files, beside its own.
_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class _Head:
    """`export.json`."""

    facecluster_export: int
    user: str
    definition: int
    hash: str
    dimension: int
    faces: int
    changes: int
    runs: int
    files: dict[str, str]


@dataclass(frozen=True)
class _Fact:
    kind: Kind
    subject: str
    object: str
    value: str


@dataclass(frozen=True)
class _Decision:
    kind: Kind
    subject: str
    object: str
    before: str | None
    value: str | None


@dataclass(frozen=True)
class _Change:
    revision: int
    at: str
    author: str
    title: str
    undoes: int | None
    erased: int
    decisions: tuple[_Decision, ...]


@dataclass(frozen=True)
class _Question:
    kind: Literal["same", "keep"]
    person: str
    other: str | None
    faces: int


@dataclass(frozen=True)
class _Run:
    id: str
    at: str
    author: str
    params: dict[str, Any]
    fingerprint: str
    faces: int
    people: int
    in_nobody: int
    reasons: dict[str, str]
    questions: tuple[_Question, ...]


_HEAD = TypeAdapter(_Head)
_FACTS, _HISTORY, _RUNS = TypeAdapter(list[_Fact]), TypeAdapter(list[_Change]), TypeAdapter(list[_Run])


@dataclass(frozen=True)
class Imported:
    """What an export came to: how much of everything, and the hash of it all (`Contents.hash`)."""

    faces: int
    changes: int
    runs: int
    hash: str


def import_library(folder: Path, library: Path, user: UserId, progress: Progress | None = None) -> Imported:
    """Make an embedded library of an export: names, confirmations, history and runs with the faces.

    Parameters
    ----------
    folder : Path
        What `open_export.export_all` wrote, by whatever program it was copied.
    library, user : Path, UserId
        Whose library it becomes; it must be empty.

    Raises
    ------
    InputError
        If the export is not whole or makes no sense, or the library holds something; nothing was changed.
    """
    try:
        return _import(folder, library, user, progress)
    except _DAMAGE as exc:
        raise InputError(
            f"The export in {folder} is damaged ({str(exc).splitlines()[0] if str(exc) else type(exc).__name__}). "
            "Nothing was changed. Export again."
        ) from exc


def _import(folder: Path, library: Path, user: UserId, progress: Progress | None) -> Imported:
    head = _head(folder)
    _check_files(folder, head, part_of(progress, 0.0, 0.1))
    place = empty_user_folder(library, user)
    n_bytes = sum((folder / name).stat().st_size for name in head.files)
    n_bytes += sum(path.stat().st_size for path in (folder / CROPS).glob("*/*"))

    def fill(aside: Path, tell: Progress | None) -> None:
        with closing(Database(aside, user)) as database:
            _fill(database, folder, head, tell)

    put_in_place(place, n_bytes, fill, part_of(progress, 0.1, 1.0))
    return Imported(head.faces, head.changes, head.runs, head.hash)


def _fill(database: Database, folder: Path, head: _Head, tell: Progress | None) -> None:
    store, people = LocalFaceStore(database), LocalPeopleStore(database)
    with database.write() as db:
        store.fill(db, _batches(folder, head, part_of(tell, 0.0, 0.7)))
        adopt(db, _facts(folder, head), _log(folder, head), _runs(folder, head))
    found = contents(store.read(), people)
    counted = (len(found.faces), len(found.log), len(found.runs))
    if counted != (head.faces, head.changes, head.runs):
        raise _wrong(folder, HEAD, f"counts {(head.faces, head.changes, head.runs)} and the files hold {counted}")
    if head.definition == DEFINITION and found.hash() != head.hash:
        raise _wrong(folder, HEAD, "names another hash than that of what is here")
    if tell:
        tell(1.0, "Imported")


def _wrong(folder: Path, name: str, why: str) -> InputError:
    return InputError(f"{name} of the export in {folder} {why}. Nothing was changed. Export again.")


# --- files -----------------------------------------------------------------------------------------------------------


def _head(folder: Path) -> _Head:
    if not (folder / HEAD).is_file():
        raise InputError(f"There is no {HEAD} in {folder}, so it is no export. Nothing was changed. Check the name.")
    head = _parsed(_HEAD, folder, HEAD, _MAX_HEAD)
    if not 1 <= head.facecluster_export <= FORMAT:
        raise InputError(
            f"The export in {folder} has format {head.facecluster_export}, and this version reads up to {FORMAT}. "
            "Nothing was changed. Install a newer facecluster."
        )
    if not 0 <= head.dimension <= _MAX_DIMENSION:
        raise _wrong(folder, HEAD, f"names vectors of {head.dimension:,} numbers")
    return head


def _check_files(folder: Path, head: _Head, progress: Progress | None) -> None:
    names = (*JSON_FILES, FACES, RUN_FACES)
    for i, name in enumerate(names):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise _wrong(folder, name, "is not there, or no plain file")
        if head.files.get(name) != sha256_of(path):
            raise _wrong(folder, name, "is not the one that was exported: the SHA-256 differs")
        if progress:
            progress((i + 1) / len(names), "Checking the export")


def _parsed(kind: TypeAdapter[_T], folder: Path, name: str, most: int = _MAX_JSON) -> _T:
    if (folder / name).stat().st_size > most:
        raise _wrong(folder, name, f"has more than {most:,} bytes")
    try:
        return kind.validate_json((folder / name).read_bytes(), strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise _wrong(folder, name, f"makes no sense ({where}: {first['msg']})") from exc


def _text(folder: Path, name: str, *texts: str | None) -> None:
    """Refuse text that no store could keep."""
    for text in texts:
        if text is not None and (len(text) > _MAX_TEXT or "\0" in text):
            raise _wrong(folder, name, f"holds text that no library does ({text[:40]!r})")


# --- what was said ---------------------------------------------------------------------------------------------------


def _facts(folder: Path, head: _Head) -> dict[tuple[Kind, str, str], str]:
    found: dict[tuple[Kind, str, str], str] = {}
    for one in _parsed(_FACTS, folder, "facts.json"):
        _text(folder, "facts.json", one.subject, one.object, one.value)
        if one.kind in _VALUES and one.value not in _VALUES[one.kind]:
            raise _wrong(folder, "facts.json", f"says {one.value[:40]!r} where a {one.kind} is said")
        if (key := (one.kind, one.subject, one.object)) in found:
            raise _wrong(folder, "facts.json", f"says twice what {one.kind} of {one.subject[:40]!r} is")
        found[key] = one.value
    del head
    return found


def _log(folder: Path, head: _Head) -> Iterator[ChangeRecord]:
    last = 0
    for one in _parsed(_HISTORY, folder, "history.json"):
        _text(folder, "history.json", one.at, one.author, one.title)
        if one.revision != last + 1 or (one.undoes is not None and not 0 < one.undoes < one.revision) or one.erased < 0:
            raise _wrong(folder, "history.json", f"has change {one.revision} after change {last}, or what it undoes")
        last = one.revision
        for d in one.decisions:
            _text(folder, "history.json", d.subject, d.object, d.before, d.value)
        decisions = tuple(Decision(d.kind, d.subject, d.object, d.value, d.before) for d in one.decisions)
        yield ChangeRecord(one.revision, one.at, one.author, one.title, decisions, one.undoes, one.erased)
    if last != head.changes:
        raise _wrong(folder, "history.json", f"ends with change {last:,} of {head.changes:,}")


def _runs(folder: Path, head: _Head) -> Iterator[tuple[RunRecord, Run]]:
    listed = _parsed(_RUNS, folder, "runs.json")
    del head
    rows = _run_rows(folder)
    for one in listed:
        _text(folder, "runs.json", one.id, one.at, one.author, one.fingerprint, *one.reasons, *one.reasons.values())
        faces, people, labels, strengths = rows.pop(one.id, ([], [], [], []))
        if len(set(faces)) != len(faces) or len(faces) != one.faces:
            raise _wrong(folder, RUN_FACES, f"has {len(faces):,} faces of the run {one.id[:40]!r}, not {one.faces:,}")
        run = Run(
            one.id,
            one.params,
            one.fingerprint,
            tuple(faces),
            tuple(people),
            np.array(labels, np.int32),
            np.array(strengths, np.float32),
            {face: reason for face, reason in one.reasons.items()},  # type: ignore[misc]
            tuple(
                Question(q.kind, PersonId(q.person), None if q.other is None else PersonId(q.other), q.faces)
                for q in one.questions
            ),
        )
        yield RunRecord(one.id, one.at, one.author, one.params, one.faces, one.people, one.in_nobody), run
    if rows:
        raise _wrong(folder, RUN_FACES, f"holds a run {next(iter(rows))[:40]!r} that runs.json does not")


def _run_rows(folder: Path) -> dict[str, tuple[list[Any], list[Any], list[int], list[float]]]:
    rows: dict[str, tuple[list[Any], list[Any], list[int], list[float]]] = {}
    for batch in _read(folder, RUN_FACES, RUN_SCHEMA):
        for run, face, person, label, strength in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            _text(folder, RUN_FACES, run, face, person)
            if label < -2 or not 0 <= strength <= 1:
                raise _wrong(folder, RUN_FACES, f"has a label {label} or a strength {strength}")
            faces, people, labels, strengths = rows.setdefault(run, ([], [], [], []))
            faces.append(face)
            people.append(person)
            labels.append(label)
            strengths.append(strength)
    return rows


# --- faces -----------------------------------------------------------------------------------------------------------


def _read(folder: Path, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet file as `open_export` writes it: plain, so that it cannot unpack to more than it is."""
    with pq.ParquetFile(folder / name) as file:
        if not file.schema_arrow.equals(schema):
            raise _wrong(folder, name, "has other columns than an export")
        meta = file.metadata
        for i in range(meta.num_row_groups):
            for j in range(meta.num_columns):
                column = meta.row_group(i).column(j)
                if column.compression != "UNCOMPRESSED" or not {*column.encodings} <= {"PLAIN", "RLE", "BIT_PACKED"}:
                    raise _wrong(folder, name, "is packed, as no export is")
        for batch in file.iter_batches(batch_size=_ROWS):
            batch.validate(full=True)
            for field, column in zip(schema, batch.columns, strict=True):
                if not field.nullable and column.null_count:
                    raise _wrong(folder, name, f"lacks a {field.name}")
            yield batch


def _batches(folder: Path, head: _Head, progress: Progress | None) -> Iterator[FaceBatch]:
    last, n = "", 0
    for batch in _read(folder, FACES, faces_schema(head.dimension)):
        rows = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "vector"}
        for face in rows["id"]:
            if (why := bad_id(face)) or face <= last:
                raise _wrong(folder, FACES, f"holds a face {face[:40]!r} that cannot be: {why or 'not in order'}")
            last = face
        for name in ("photo", "url", "folder", "crop_url"):
            _text(folder, FACES, *rows[name])
        yield FaceBatch(
            ids=tuple(rows["id"]),
            vectors=_vectors(folder, batch.column("vector"), head.dimension),
            photo=tuple(rows["photo"]),
            url=tuple(rows["url"]),
            folder=tuple(rows["folder"]),
            blur_score=_numbers(folder, rows["blur_score"], 1e30),
            boxes=_boxes(folder, rows),
            crops=tuple(_crop(folder, name) for name in rows["crop"]),
            crop_urls=tuple(rows["crop_url"]),
        )
        n += len(rows["id"])
        if progress:
            progress(n / max(head.faces, n), "Importing faces")


def _vectors(folder: Path, column: pa.FixedSizeListArray, dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    if column.flatten().null_count:
        raise _wrong(folder, FACES, "holds a vector with a hole")
    rows = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not (np.abs(length - 1) < _NOT_UNIT).all():  # false for NaN
        raise _wrong(folder, FACES, "holds a vector that is not of length 1")
    return np.ascontiguousarray(rows, np.float32)


def _numbers(folder: Path, values: list[float | None], most: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = np.array([np.nan if value is None else value for value in values], np.float32)
    known = found[[value is not None for value in values]]
    if not (np.abs(known) < most).all():
        raise _wrong(folder, FACES, "holds a number that is none")
    return found


def _boxes(folder: Path, rows: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    sides = [_numbers(folder, rows[f"box_{side}"], MAX_PIXEL + 1) for side in ("left", "top", "right", "bottom")]
    boxes = np.column_stack(sides)
    known = np.isfinite(boxes)
    is_box = known.all(axis=1) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    if (known.any(axis=1) & ~is_box).any():
        raise _wrong(folder, FACES, "holds a box that is none")
    return boxes


def _crop(folder: Path, name: str | None) -> bytes:
    """A picture by its name, which is what it holds: a name cannot lead to anything else, wherever it points."""
    if name is None:
        return b""
    if not _CROP.fullmatch(name):
        raise _wrong(folder, FACES, f"names a picture {name[:40]!r}, which no export does")
    try:
        # Without waiting: a pipe of that name would keep us here for ever.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(handle)
            is_plain = stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES
            data = os.read(handle, found.st_size) if is_plain else b""
        finally:
            os.close(handle)
    except OSError as exc:
        raise _wrong(folder, name, f"cannot be read ({exc.strerror})") from exc
    if not is_plain:
        raise _wrong(folder, name, "is no plain file of a picture's size")
    if crop_name(data) != name:
        raise _wrong(folder, name, "is not the picture that was exported: the SHA-256 differs")
    try:
        return checked_crop(data)
    except InputError as exc:
        raise _wrong(folder, name, f"cannot be taken: {exc}") from exc
