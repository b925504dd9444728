"""Faces as Pinecone records, and records as faces: metadata can hold text, numbers and lists of text, to 40 kB."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pinecone import Vector

from facecluster.errors import InputError
from facecluster.importing import Columns, Refusal, checked_faces
from facecluster.model import FaceBatch

MAX_ID_LENGTH = 512
MAX_METADATA = 40 * 1024
MAX_RECORDS = 1_000
MAX_BODY = 1_900_000  # of 2 MB; sizes are estimated from above, see `_size`
_BYTES_A_NUMBER = 24  # sign, 0., 17 digits, exponent, comma


@dataclass(frozen=True)
class CheckedPage:
    """Records as faces: those that can be used, those that cannot by their whole ids, and how many lack a picture."""

    batch: FaceBatch
    refused: tuple[Refusal, ...]
    n_pictureless: int

    @property
    def ids(self) -> list[str]:
        """All that came, usable or not."""
        return [*self.batch.ids, *(refusal.face for refusal in self.refused)]


def checked_page(records: Sequence[Vector], dimension: int) -> CheckedPage:
    """Records as faces, by the importer's rules; metadata that makes no sense is unknown."""
    facts = [record.metadata or {} for record in records]
    ids = [record.id for record in records]
    checked = checked_faces(
        Columns(
            id=ids,
            vector=_vectors(records, dimension),
            photo=[_text(fact.get("photo")) for fact in facts],
            url=[_text(fact.get("url")) for fact in facts],
            folder=[_text(fact.get("folder")) for fact in facts],
            blur_score=[_number(fact.get("blur_score")) for fact in facts],
            box=[fact.get("box") for fact in facts],
            crop=[fact.get("face_crop") for fact in facts],
        ),
        dimension,
    )
    # The importer shortens ids for the eye.
    taken = set(checked.batch.ids)
    refused = zip((face for face in ids if face not in taken), checked.refused, strict=True)
    reasons = tuple(Refusal(face, refusal.reason) for face, refusal in refused)
    return CheckedPage(checked.batch, reasons, len(checked.without_picture))


def writable(face: str) -> bool:
    """Whether Pinecone takes this id."""
    return face.isascii() and 0 < len(face) <= MAX_ID_LENGTH and "\0" not in face


def records_of(batch: FaceBatch, chosen: Sequence[int], owner: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """The chosen faces as records, in portions of one call each; `owner` is added to everybody's metadata.

    A picture too large for metadata stays away: the cache has it.

    Raises
    ------
    InputError
        If Pinecone cannot hold a face. Nothing may have been written before that: ask `check` first.
    """
    some: list[dict[str, Any]] = []
    size = 0
    for i in chosen:
        metadata = _metadata(batch, i, owner)
        cost = len(batch.ids[i]) + _size(metadata) + _BYTES_A_NUMBER * batch.vectors.shape[1] + 64
        if some and (len(some) == MAX_RECORDS or size + cost > MAX_BODY):
            yield some
            some, size = [], 0
        some.append({"id": batch.ids[i], "values": batch.vectors[i].tolist(), "metadata": metadata})
        size += cost
    if some:
        yield some


def check(batch: FaceBatch, owner: dict[str, str]) -> None:
    """Refuse faces that Pinecone cannot hold, before anything is written."""
    for i, face in enumerate(batch.ids):
        if not writable(face):
            raise InputError(
                f"Pinecone takes ids of 1 to {MAX_ID_LENGTH} ASCII characters, and not {face[:80]!r}. "
                "Nothing was written. Give the face another id."
            )
        size = _size(_metadata(batch, i, owner, with_picture=False))
        if size > MAX_METADATA:
            raise InputError(
                f"The addresses of face {face!r} take {size:,} bytes, and Pinecone holds {MAX_METADATA:,} a face. "
                "Nothing was written. Shorten them."
            )


def _vectors(records: Sequence[Vector], dimension: int) -> Any:
    """Rows, rounded to float32: Pinecone keeps that and writes fewer digits than would tell the number exactly."""
    with np.errstate(over="ignore"):  # infinite then, and refused
        rows = [np.fromiter(record.values, np.float32) for record in records]
    if all(len(row) == dimension for row in rows):
        return np.array(rows, np.float32).reshape(-1, dimension)
    return [row.tolist() for row in rows]


def _metadata(batch: FaceBatch, i: int, owner: dict[str, str], with_picture: bool = True) -> dict[str, Any]:
    texts = {"url": batch.url[i], "folder": batch.folder[i]}
    found: dict[str, Any] = {**owner, **{name: text for name, text in texts.items() if text}}
    if batch.photo[i] != batch.url[i]:
        found["photo"] = batch.photo[i]
    if np.isfinite(batch.blur_score[i]):
        found["blur_score"] = float(batch.blur_score[i])
    if np.isfinite(batch.boxes[i]).all():
        found["box"] = [repr(float(side)) for side in batch.boxes[i]]  # lists may hold text only
    if with_picture:
        picture = b64encode(batch.crops[i]).decode("ascii") or batch.crop_urls[i]
        if picture and _size({**found, "face_crop": picture}) <= MAX_METADATA:
            found["face_crop"] = picture
    return found


def _size(metadata: dict[str, Any]) -> int:
    return len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "replace"))


def _text(value: object) -> str:
    """Text as it is; a number as it was written, for Pinecone keeps 2023 as 2023.0; nothing for anything else."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _number(value: object) -> object:
    return None if isinstance(value, bool) else value
