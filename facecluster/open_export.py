"""A whole library as files of open formats: any program reads them, and `open_import` makes the library of them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facecluster import __version__
from facecluster.contents import DEFINITION, Contents
from facecluster.errors import InputError, StaleWriteError
from facecluster.exporting import faces_table, people_table
from facecluster.model import ChangeRecord, Decision, FaceId, FaceSet, Run, UserId
from facecluster.ports import Progress
from facecluster.view import View

FORMAT = 1
HEAD = "export.json"
JSON_FILES = ("people.json", "facts.json", "history.json", "runs.json")
FACES, RUN_FACES, CROPS = "faces.parquet", "run_faces.parquet", "crops"
_README = Path(__file__).with_name("export_readme.md")
_ROWS = 8_192  # faces at a time: 16 MB of vectors

# The first bytes of each kind of picture that a library takes.
_SUFFIXES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp"}

RUN_SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("face", pa.string(), nullable=False),
        pa.field("person", pa.string()),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("strength", pa.float32(), nullable=False),
    ]
)


def faces_schema(dimension: int) -> pa.Schema:
    """Columns of `faces.parquet`: first what was imported, then, from `person` on, what came of it."""
    text = [pa.field(name, pa.string(), nullable=False) for name in ("photo", "url", "folder", "crop_url")]
    box = [pa.field(f"box_{side}", pa.float32()) for side in ("left", "top", "right", "bottom")]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            *text,
            pa.field("blur_score", pa.float32()),
            *box,
            pa.field("crop", pa.string()),
            pa.field("person", pa.string()),
            pa.field("name", pa.string(), nullable=False),
            pa.field("confirmed", pa.bool_(), nullable=False),
            pa.field("strength", pa.float32(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class Exported:
    """What was written: how much, and the hash of it all (`Contents.hash`)."""

    faces: int
    people: int
    changes: int
    runs: int
    crops: int
    hash: str


def export_all(
    user: UserId,
    view: View,
    found: Contents,
    crop: Callable[[FaceId], bytes],
    to: Path,
    progress: Progress | None = None,
) -> Exported:
    """Write everything into a folder, which appears once it is whole.

    Parameters
    ----------
    view, found : View, Contents
        Of one moment.
    crop : callable
        The picture of a face, b"" for none.
    to : Path
        A folder that is not there yet, or is empty.

    Raises
    ------
    InputError
        If there is something already, or it cannot be written.
    StaleWriteError
        If pictures were changed meanwhile.
    """
    to = to.absolute()
    if os.path.lexists(to) and (not to.is_dir() or to.is_symlink() or any(to.iterdir())):
        raise InputError(f"There is something in {to} already. Nothing was exported. Choose another folder.")
    aside = to.with_name(f".{to.name}.{secrets.token_hex(4)}.writing")
    try:
        aside.mkdir(mode=0o700)
        try:
            done = _write(user, view, found, crop, aside, progress)
            aside.rename(to)  # takes the place of an empty folder, and of nothing else
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as exc:
        raise InputError(
            f"{to} cannot be written: {exc.strerror or exc}. Nothing was exported. Check the disk, and the rights of "
            "its folder."
        ) from exc
    return done


def _write(
    user: UserId,
    view: View,
    found: Contents,
    crop: Callable[[FaceId], bytes],
    folder: Path,
    progress: Progress | None,
) -> Exported:
    crops = _write_faces(view, found, crop, folder, progress)
    _write_run_faces(found, folder)
    tables = (people_of(view), facts_of(found), history_of(found), runs_of(found))
    for name, table in zip(JSON_FILES, tables, strict=True):
        _write_json(folder / name, table)
    shutil.copyfile(_README, folder / "README.md")
    done = Exported(len(found.faces), len(tables[0]), len(found.log), len(found.runs), crops, found.hash())
    coverage = found.faces.coverage
    head = {
        "facecluster_export": FORMAT,
        "made_by": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": user,
        "definition": DEFINITION,
        "hash": done.hash,
        "dimension": int(found.faces.vectors.shape[1]),
        "faces": done.faces,
        "changes": done.changes,
        "runs": done.runs,
        "source": "" if coverage is None else coverage.in_words(),
        "files": {name: sha256_of(folder / name) for name in (*JSON_FILES, FACES, RUN_FACES)},
    }
    _write_json(folder / HEAD, head)
    if progress:
        progress(1.0, "Exported")
    return done


def people_of(view: View) -> list[dict[str, Any]]:
    """Everybody there is, merged and hidden people too."""
    n_faces = {row["cluster_id"]: row["face_count"] for row in people_table(view)}
    return [
        {
            "id": person.id,
            "name": person.name,
            "hidden": person.is_hidden,
            "cover": person.cover,
            "merged_into": person.merged_into,
            "faces": n_faces.get(person.id, 0),
        }
        for person in view.snapshot.people.values()
    ]


def facts_of(found: Contents) -> list[dict[str, Any]]:
    """What is said now, each with who said it last, when, and in which change; null where history does not tell."""
    last: dict[tuple[str, str, str], ChangeRecord] = {
        one.key: record for record in found.log for one in record.decisions
    }
    return [
        {
            "kind": kind,
            "subject": subject,
            "object": obj,
            "value": value,
            "at": said.at if (said := last.get((kind, subject, obj))) else None,
            "author": said.author if said else None,
            "revision": said.revision if said else None,
        }
        for (kind, subject, obj), value in sorted(found.snapshot.facts.items())
    ]


def history_of(found: Contents) -> list[dict[str, Any]]:
    """Every change, oldest first."""
    return [
        {
            "revision": record.revision,
            "at": record.at,
            "author": record.author,
            "title": record.title,
            "undoes": record.undoes,
            "erased": record.n_erased,
            "decisions": [_decision(one) for one in record.decisions],
        }
        for record in found.log
    ]


def _decision(one: Decision) -> dict[str, Any]:
    return {"kind": one.kind, "subject": one.subject, "object": one.object, "before": one.before, "value": one.value}


def runs_of(found: Contents) -> list[dict[str, Any]]:
    """Kept runs, oldest first, without their rows."""
    facts = found.snapshot.facts
    return [
        {
            "id": listed.id,
            "at": listed.at,
            "author": listed.author,
            "name": facts.get(("run_name", listed.id, ""), ""),
            "live": facts.get(("live_run", "", "")) == listed.id,
            "params": dict(listed.params),
            "fingerprint": run.fingerprint,
            "faces": listed.n_faces,
            "people": listed.n_people,
            "in_nobody": listed.n_noise,
            "reasons": dict(run.reason),
            "questions": [
                {"kind": q.kind, "person": q.person, "other": q.other, "faces": q.n_faces} for q in run.questions
            ],
        }
        for listed, run in ((listed, found.run(listed.id)) for listed in found.runs)
    ]


def crop_name(data: bytes) -> str:
    """Where a picture lies: by what it holds, so that its name is its checksum."""
    digest = hashlib.sha256(data).hexdigest()
    suffix = next((suffix for start, suffix in _SUFFIXES.items() if data.startswith(start)), "bin")
    return f"{CROPS}/{digest[:2]}/{digest}.{suffix}"


def _write_faces(
    view: View, found: Contents, crop: Callable[[FaceId], bytes], folder: Path, progress: Progress | None
) -> int:
    faces, labels = found.faces, faces_table(view)
    schema, written = faces_schema(faces.vectors.shape[1]), set[str]()
    with _writer(folder / FACES, schema) as writer:
        for start in range(0, len(faces), _ROWS):
            rows = range(start, min(start + _ROWS, len(faces)))
            names = [_write_crop(_same(faces, i, crop(faces.ids[i])), folder, written) for i in rows]
            ours = [labels[i] for i in rows]
            numbers = np.column_stack([faces.blur_score[rows.start : rows.stop], faces.boxes[rows.start : rows.stop]])
            vectors = np.ascontiguousarray(faces.vectors[rows.start : rows.stop], np.float32)
            columns: dict[str, Any] = {
                "id": faces.ids[rows.start : rows.stop],
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
                **{name: getattr(faces, key)[rows.start : rows.stop] for name, key in _TEXTS.items()},
                **dict(zip(_NUMBERS, (pa.array(column, from_pandas=True) for column in numbers.T), strict=True)),
                "crop": names,
                "person": [row["cluster_id"] for row in ours],
                "name": [row["name"] for row in ours],
                "confirmed": [row["pinned"] for row in ours],
                "strength": [row["strength"] for row in ours],
            }
            writer.write_table(pa.table(columns, schema=schema))
            if progress:
                progress(0.9 * rows.stop / len(faces), "Exporting faces")
    return len(written)


_TEXTS = {"photo": "photo", "url": "url", "folder": "folder", "crop_url": "crop_urls"}
_NUMBERS = ("blur_score", "box_left", "box_top", "box_right", "box_bottom")


def _same(faces: FaceSet, row: int, picture: bytes) -> bytes:
    """The picture of a face, which is still the one that belongs to the moment that is exported."""
    mark = hashlib.sha256(picture).hexdigest()[:16] if picture else ""
    if faces.picture_marks and mark != faces.picture_marks[row]:
        raise StaleWriteError(
            f"The picture of face {faces.ids[row]!r} was changed while the library was exported. Nothing was exported. "
            "Export again."
        )
    return picture


def _writer(path: Path, schema: pa.Schema) -> Any:
    # Neither packed nor by dictionary: vectors and pictures do not shrink, and who reads it back can tell how much
    # there is from how long the file is.
    return pq.ParquetWriter(path, schema, compression="none", use_dictionary=False)


def _write_crop(data: bytes, folder: Path, written: set[str]) -> str | None:
    if not data:
        return None
    name = crop_name(data)
    if name not in written:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        written.add(name)
    return name


def _write_run_faces(found: Contents, folder: Path) -> None:
    with _writer(folder / RUN_FACES, RUN_SCHEMA) as writer:
        for listed in found.runs:
            writer.write_table(_run_table(found.run(listed.id)))


def _run_table(run: Run) -> pa.Table:
    columns = {
        "run": [run.id] * len(run.faces),
        "face": run.faces,
        "person": run.owner,
        "label": run.label,
        "strength": run.strength,
    }
    return pa.table(columns, schema=RUN_SCHEMA)


def _write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
