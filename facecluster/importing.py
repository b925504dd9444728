"""Reads face files (.npz, .parquet, .csv, .jsonl) into checked faces, and says what it refused and why."""

from __future__ import annotations

import csv
import json
import re
import sys
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.decoding import refusals
from facecluster.errors import InputError
from facecluster.images import crop_from_text
from facecluster.model import FaceBatch, FaceSet
from facecluster.ports import Progress

MAX_ID_LENGTH = 512  # what the strictest store takes
DEFAULT_DIMENSION = 512
SHORTEST = 1e-100  # below it squares lose their digits, and a vector its direction
MAX_PIXEL = 100_000  # no JPEG, PNG or WebP of a photo reaches this; a box beyond it is unknown

# Control characters and halves of surrogate pairs: neither prints, and the second cannot even be written.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# What readers raise on damaged files, beside our own errors. numpy hands the head of an array to Python's own parser.
DAMAGE = (
    *(OSError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, RuntimeError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, csv.Error),
)

# Columns that a table may have, and the other names under which face indexes keep them.
ALIASES = {
    "id": ("id", "ids", "face_id", "vector_id"),
    "vector": ("vector", "vectors", "values", "embedding"),
    "photo": ("photo", "photo_id"),
    "url": ("url", "photo_url", "image_url"),
    "folder": ("folder",),
    "blur_score": ("blur_score", "blur"),
    "box": ("box", "boxes", "bbox"),
    "crop": ("crop", "face_crop"),
}


@dataclass(frozen=True)
class Refusal:
    """A face, or the picture of one, that was not taken, and why."""

    face: str
    reason: str


@dataclass(frozen=True)
class CheckedFaces:
    """What a file held: faces to add, faces refused, and faces taken without their picture."""

    batch: FaceBatch
    refused: tuple[Refusal, ...]
    without_picture: tuple[Refusal, ...]


@dataclass(frozen=True)
class ImportReport:
    """What an import did with each face."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    refused: tuple[Refusal, ...] = ()
    without_picture: tuple[Refusal, ...] = ()

    def plus(self, counts: tuple[int, int, int], checked: CheckedFaces) -> ImportReport:
        """The same with another file, of which so many faces were added, replaced and there already."""
        added, replaced, unchanged = counts
        return ImportReport(
            self.added + added,
            self.replaced + replaced,
            self.unchanged + unchanged,
            self.refused + checked.refused,
            self.without_picture + checked.without_picture,
        )


@dataclass
class Columns:
    """Faces as columns of raw values; None where a column is missing."""

    id: Sequence[Any]
    vector: Any
    photo: Sequence[Any] | None = None
    url: Sequence[Any] | None = None
    folder: Sequence[Any] | None = None
    blur_score: Sequence[Any] | None = None
    box: Sequence[Any] | None = None
    crop: Sequence[Any] | None = None


def import_files(
    paths: Sequence[Path],
    known: Callable[[], FaceSet],
    add: Callable[[FaceBatch], tuple[int, int, int]],
    progress: Progress | None = None,
) -> ImportReport:
    """Hand the faces of some files to a store's `add`, one file after the other; `known` are those it has."""
    totals = ImportReport()
    for i, path in enumerate(paths):
        if progress:
            progress(i / len(paths), f"Reading {path.name}")
        before = known()
        checked = read_faces(path, before.vectors.shape[1] if len(before) else None)
        if progress:
            progress((i + 0.5) / len(paths), f"Writing {len(checked.batch.ids):,} faces")
        totals = totals.plus(add(checked.batch), checked)
    if progress:
        progress(1.0, "Imported")
    return totals


def read_faces(path: Path, dimension: int | None = None) -> CheckedFaces:
    """Read one file of faces.

    Parameters
    ----------
    path : Path
        `.npz`, `.parquet`, `.csv`, `.jsonl` (or `.ndjson`).
    dimension : int | None
        What a vector must have; None takes what most rows have (an empty library).

    Returns
    -------
    CheckedFaces
        Vectors normalised to length 1 (in float64, kept as float32).

    Raises
    ------
    InputError
        If the file as a whole cannot be read.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path.name} ends in {path.suffix or 'nothing'!r}; faces are read from {', '.join(READERS)}. "
            "Nothing was imported from it. docs/import.md shows the formats."
        )
    if not path.is_file():
        raise InputError(f"There is no file {path}. Nothing was imported. Check the name.")
    try:
        columns = reader(path)
    except InputError:
        raise
    except DAMAGE as exc:
        raise InputError(
            f"{path.name} is damaged or no {path.suffix} file: {exc}. Nothing was imported from it. "
            "docs/import.md shows the formats."
        ) from exc
    return checked_faces(columns, dimension)


def _read_npz(path: Path) -> Columns:
    # numpy leaves a file open that turns out to be no archive, so it is opened here.
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
        names = set(file.files)
        for needed in ("ids", "vectors"):
            if needed not in names:
                raise InputError(
                    f"{path.name} has no array {needed!r} (it has {', '.join(sorted(names)) or 'none'}). "
                    "Nothing was imported from it. docs/import.md shows the format."
                )
        crops: list[bytes] | None = None
        if {"crops", "crop_offsets"} <= names:
            crops = _cut(path, file["crops"], file["crop_offsets"], len(file["ids"]))
        given = {column: file[key] for column, key in _npz_keys(names).items()}
        ids = file["ids"]
        for key, values in (("ids", ids), *given.items()):
            if values.ndim != (2 if key == "box" else 1) or len(values) != len(ids):
                raise InputError(
                    f"The array {key!r} in {path.name} has shape {values.shape}, and there are {ids.size:,} ids. "
                    "Nothing was imported from it. Every array needs one row a face."
                )
        return Columns(id=ids.tolist(), vector=file["vectors"], crop=crops, **{k: v.tolist() for k, v in given.items()})


def _npz_keys(names: set[str]) -> dict[str, str]:
    """Which arrays there are for the columns that may be missing; the first of the known names counts."""
    optional = ("photo", "url", "folder", "blur_score", "box")
    found = {column: next((key for key in ALIASES[column] if key in names), "") for column in optional}
    return {column: key for column, key in found.items() if key}


def _cut(path: Path, data: NDArray[Any], offsets: NDArray[Any], n: int) -> list[bytes]:
    raw = data.astype(np.uint8, casting="safe").tobytes()
    at = offsets.astype(np.int64, casting="safe")
    if at.shape != (n + 1,) or bool((np.diff(at, prepend=0, append=len(raw)) < 0).any()):
        raise InputError(f"crop_offsets in {path.name} do not fit {n:,} faces. Nothing was imported from it.")
    return [raw[at[i] : at[i + 1]] for i in range(n)]


def _read_parquet(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)  # a folder named `id=5` is no column
    except pa.ArrowException as exc:
        raise ValueError(str(exc)) from exc
    names = _found(path, table.column_names)
    columns: dict[str, Any] = {key: table.column(name).to_pylist() for key, name in names.items() if key != "vector"}
    return Columns(vector=table.column(names["vector"]).to_pylist(), **columns)


def _read_csv(path: Path) -> Columns:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    names = _found(path, list(rows[0]) if rows else ["id", "vector"])
    columns: dict[str, Any] = {key: [row[name] for row in rows] for key, name in names.items()}
    for key in ("vector", "box"):
        if key in columns:
            columns[key] = [numbers_in(text) for text in columns[key]]
    return Columns(**columns)


def _read_jsonl(path: Path) -> Columns:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(
                        f"Line {number} of {path.name} is no JSON object. Nothing was imported from it. Mend that line."
                    )
                rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row)) or ["id", "vector"]
    names = _found(path, keys)
    columns: dict[str, Any] = {key: [row.get(name) for row in rows] for key, name in names.items()}
    return Columns(**columns)


READERS: dict[str, Callable[[Path], Columns]] = {
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}


def _found(path: Path, present: Sequence[str]) -> dict[str, str]:
    """Which of our columns the file has, under which name."""
    names = {column: next((a for a in aliases if a in present), "") for column, aliases in ALIASES.items()}
    for needed in ("id", "vector"):
        if not names[needed]:
            raise InputError(
                f"{path.name} has no column {needed!r} (it has {', '.join(map(str, present)) or 'none'}). "
                "Nothing was imported from it. docs/import.md shows the format."
            )
    return {column: name for column, name in names.items() if name}


def numbers_in(text: str | None) -> list[float] | None:
    """Numbers of a CSV cell: a JSON list, or numbers apart by blanks, commas or semicolons."""
    if not text:
        return None
    try:
        return [float(part) for part in text.strip().strip("[]").replace(",", " ").replace(";", " ").split()]
    except ValueError:
        return None


def checked_faces(columns: Columns, dimension: int | None) -> CheckedFaces:
    """Faces that can be taken, normalised, and those that cannot, each with its reason."""
    ids = [_text(value) for value in columns.id]
    vectors, bad = _vectors(columns.vector, len(ids), dimension)
    seen: Counter[str] = Counter()
    refused: list[Refusal] = []
    keep: list[int] = []
    for i, face in enumerate(ids):
        seen[face] += 1
        reason = bad_id(face) or ("its id stands twice in the file" if seen[face] > 1 else "") or bad.get(i, "")
        if reason:
            refused.append(Refusal(_shown(face) or f"row {i + 1}", reason))
        else:
            keep.append(i)
    crops, crop_urls, without = _crops(columns.crop, ids, keep)
    url, photo = _texts(columns.url, keep), _texts(columns.photo, keep)
    batch = FaceBatch(
        ids=tuple(ids[i] for i in keep),
        vectors=vectors[keep],
        photo=tuple(p or u for p, u in zip(photo, url, strict=True)),
        url=url,
        folder=_texts(columns.folder, keep),
        blur_score=_scores(columns.blur_score, keep),
        boxes=_boxes(columns.box, keep),
        crops=crops,
        crop_urls=crop_urls,
    )
    return CheckedFaces(batch, tuple(refused), without)


def _vectors(raw: Any, n: int, dimension: int | None) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Unit rows, and why a row is none."""
    bad: dict[int, str] = {}
    if isinstance(raw, np.ndarray):
        if raw.ndim != 2 or len(raw) != n or raw.dtype.kind not in "fiu":
            raise InputError(
                f"`vectors` has shape {raw.shape} and type {raw.dtype}, and {n:,} ids need numbers of shape "
                f"({n:,}, dimension). Nothing was imported from it."
            )
        wanted = dimension or raw.shape[1]
        if raw.shape[1] != wanted:
            reason = f"its vector has {raw.shape[1]} numbers and not {wanted}"
            return np.zeros((n, wanted), np.float32), dict.fromkeys(range(n), reason)
        rows = raw
    else:
        lengths = Counter(len(row) for row in raw if isinstance(row, list) and row)
        wanted = dimension or (lengths.most_common(1)[0][0] if lengths else DEFAULT_DIMENSION)
        rows = np.full((n, wanted), np.nan)
        for i, row in enumerate(raw):
            if not isinstance(row, list):
                bad[i] = "it has no readable vector"
            elif len(row) != wanted:
                bad[i] = f"its vector has {len(row)} numbers and not {wanted}"
            else:
                try:
                    rows[i] = row
                except (TypeError, ValueError, OverflowError):
                    bad[i] = "its vector holds something that is no number"
    return normalised(rows, bad)


def normalised(rows: NDArray[Any], bad: dict[int, str]) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Rows of length 1, shape (n, dimension), and `bad` with the rows added that have no direction and why."""
    out = np.zeros(rows.shape, np.float32)
    step = 16_384  # float64 copies of a block, not of the library
    for start in range(0, len(rows), step):
        with np.errstate(over="ignore", invalid="ignore"):  # longer numbers become infinite
            block = np.asarray(rows[start : start + step], np.float64)
        finite = np.asarray(np.isfinite(block).all(axis=1))
        with np.errstate(over="ignore"):  # a length beyond float64 is infinite, and refused below
            norm = np.sqrt((block * block).sum(axis=1))
        usable = np.asarray(finite & np.isfinite(norm) & (norm > SHORTEST))
        out[start : start + step][usable] = (block[usable] / norm[usable, None]).astype(np.float32)
        for i in np.flatnonzero(~usable).tolist():
            bad.setdefault(start + i, _unusable(bool(finite[i]), float(norm[i])))
    return out, bad


def _unusable(is_finite: bool, norm: float) -> str:
    if not is_finite:
        return "its vector holds NaN or infinity"
    return "its vector is zero" if norm <= SHORTEST else "its vector is too long to be measured"


def bad_id(face: str) -> str:
    """Why an id cannot be taken, "" where it can."""
    if not face:
        return "it has no id"
    if len(face) > MAX_ID_LENGTH:
        return f"its id has {len(face):,} characters, and the limit is {MAX_ID_LENGTH}"
    if _UNPRINTABLE.search(face):
        return "its id holds control characters"
    return ""


def _texts(values: Sequence[Any] | None, keep: list[int]) -> tuple[str, ...]:
    if values is None:
        return ("",) * len(keep)
    return tuple(_clean(_text(values[i])) for i in keep)


def _text(value: Any) -> str:
    """A cell as text; numpy and Parquet keep text as bytes at times."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _shown(face: str) -> str:
    """An id that can be printed, whatever it holds."""
    short = face if len(face) <= 80 else f"{face[:80]}…"
    return ascii(short) if _UNPRINTABLE.search(short) else short


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _scores(values: Sequence[Any] | None, keep: list[int]) -> NDArray[np.float32]:
    return np.array([_number(values[i]) if values is not None else np.nan for i in keep], np.float32)


def _number(value: Any) -> float:
    """A finite number, or NaN for anything else: an unknown score counts as sharp."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
    return number if np.isfinite(number) and abs(number) < 1e30 else float("nan")


def _boxes(values: Sequence[Any] | None, keep: list[int]) -> NDArray[np.float32]:
    out = np.full((len(keep), 4), np.nan, np.float32)
    for place, i in enumerate(keep):
        box = values[i] if values is not None else None
        if isinstance(box, list) and len(box) == 4:
            numbers = [_number(v) for v in box]
            is_near = all(abs(v) <= MAX_PIXEL for v in numbers)  # false for NaN
            if is_near and numbers[0] < numbers[2] and numbers[1] < numbers[3]:
                out[place] = numbers
    return out


def _crops(
    values: Sequence[Any] | None, ids: list[str], keep: list[int]
) -> tuple[tuple[bytes, ...], tuple[str, ...], tuple[Refusal, ...]]:
    if values is None:
        return (b"",) * len(keep), ("",) * len(keep), ()
    crops: list[bytes] = []
    urls: list[str] = []
    reasons: list[str] = []
    for i in keep:
        crop, url, reason = b"", "", ""
        try:
            value = values[i]
            crop, url = (value, "") if isinstance(value, bytes) else crop_from_text(str(value or ""))
        except InputError as exc:
            reason = str(exc)
        crops.append(crop)
        urls.append(url)
        reasons.append(reason)
    for at, reason in enumerate(refusals(crops)):
        if reason:
            crops[at], reasons[at] = b"", reason
    refused = tuple(Refusal(ids[i], reason) for i, reason in zip(keep, reasons, strict=True) if reason)
    return tuple(crops), tuple(urls), refused
