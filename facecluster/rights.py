"""What a person may ask for: all that is kept about them as open files; and who was not spoken of for how long."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from facecluster.decisions import people_in, resolve
from facecluster.errors import InputError
from facecluster.exporting import person_as_json
from facecluster.model import ChangeRecord, Decision, FaceId, PersonId
from facecluster.ports import PeopleStore
from facecluster.view import View

# First bytes of the picture formats that importing takes.
_ENDINGS = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"RIFF", "webp"))
_DAYS = {"d": 1.0, "w": 7.0, "m": 365.25 / 12, "y": 365.25}
_README = """Everything that facecluster keeps about one person, as of {at}.

person.json    the person's id and name, each face with photo, folder, sharpness, place in the photo, vector and
               picture, and every fact that names the person or one of the faces. Each of "faces" can be imported
               again as a line of a .jsonl file
faces/         the cut-out pictures as they are kept, one file a face; pictures.json says which face is which
vectors.npy    the vectors, {n} rows of {dimension} little-endian float32 numbers (numpy.load, allow_pickle=False)
vectors.json   the face id of each of these rows, in their order
changes.json   when and by whom something was said about the person or the faces, oldest first. What a change says of
               others is left out
runs.json      published results that hold faces of the person, and which of them

The photos themselves are not kept by facecluster. Other people are named by their ids alone.
"""


def person_files(
    view: View, person: PersonId, crop: Callable[[FaceId], bytes], people_store: PeopleStore
) -> dict[str, bytes]:
    """Everything about one person: contents of each file by its name; `crop` gives the picture of a face."""
    log = people_store.history(max(view.snapshot.revision, 1))
    runs = {record.id: people_store.run(record.id).faces for record in people_store.runs()}
    faces, people = view.everything_of(person)
    here = [face for face in faces if face in view.faces.row]
    vectors = np.asarray(view.faces.vectors[[view.row(face) for face in here]], "<f4")
    pictures: dict[str, FaceId] = {}
    files: dict[str, bytes] = {}
    for number, face in enumerate(here):
        picture = crop(face)
        if picture:
            name = f"{number:05d}.{_ending(picture)}"
            files[f"faces/{name}"], pictures[name] = picture, face
    out = io.BytesIO()
    np.save(out, vectors, allow_pickle=False)
    said = {"n": len(here), "dimension": vectors.shape[1], "at": datetime.now(UTC).isoformat(timespec="seconds")}
    return {
        "README.txt": _README.format(**said).encode(),
        "person.json": person_as_json(view, person, crop).encode(),
        "vectors.npy": out.getvalue(),
        "vectors.json": _json(here),
        "pictures.json": _json(pictures),
        "changes.json": _json(list(_changes(log, {*faces, *people}))),
        "runs.json": _json({run: sorted({*held} & {*faces}) for run, held in runs.items() if {*held} & {*faces}}),
        **files,
    }


def as_zip(files: Mapping[str, bytes]) -> bytes:
    """The same as one archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _ending(picture: bytes) -> str:
    return next((ending for start, ending in _ENDINGS if picture.startswith(start)), "bin")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _changes(log: Sequence[ChangeRecord], gone: set[str]) -> Iterator[dict[str, Any]]:
    for record in reversed(log):
        about = [d for d in record.decisions if not gone.isdisjoint(_spoken_of(d))]
        if about:
            yield {
                "at": record.at,
                "author": record.author,
                "said": [
                    {"kind": d.kind, "subject": d.subject, "object": d.object, "before": d.before, "value": d.value}
                    for d in about
                ],
            }


def _spoken_of(said: Decision) -> set[str]:
    """Faces and people that a decision names."""
    if said.kind in ("live_run", "run_name"):
        return set()
    values = {value for value in (said.value, said.before) if value}
    named = {one for value in values for one in people_in(said.kind, said.subject, said.object, value)}
    return {said.subject, said.object, *named} - {""}


# --- who was not spoken of for how long -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Untouched:
    """Somebody, and when something was said of them last: found, named, confirmed, moved, merged.

    `at` is None where the log says nothing of them.
    """

    person: PersonId
    name: str
    n_faces: int
    at: datetime | None


def age_of(text: str) -> timedelta:
    """A span such as 3y, 18m, 4w or 90d.

    Raises
    ------
    InputError
        If it is none.
    """
    found = re.fullmatch(r"(\d{1,4})([dwmy])", text.strip().lower())
    if found is None:
        raise InputError(f"{text!r} is no age. Nothing was erased. Write it as 3y, 18m, 4w or 90d.")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def untouched(view: View, log: Sequence[ChangeRecord], before: datetime) -> list[Untouched]:
    """Everybody of whom nothing was said since a moment, the longest ago first.

    Only what a curator said counts, and that somebody was found: a publishing that changes nothing about them does not.
    """
    last: dict[PersonId, datetime] = {}
    for record in log:  # newest first: the first word is the last one said
        at = datetime.fromisoformat(record.at)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        for said in record.decisions:
            for person in _people_of(view, said):
                last.setdefault(person, at)
    found = []
    for person in view.snapshot.people:
        if resolve(view.snapshot, person) != person or ((at_last := last.get(person)) and at_last >= before):
            continue
        n_faces = len(view.everything_of(person)[0])
        found.append(Untouched(person, view.person(person).name, n_faces, last.get(person)))
    return sorted(found, key=lambda one: (one.at or datetime.min.replace(tzinfo=UTC), one.person))


def _people_of(view: View, said: Decision) -> set[PersonId]:
    """Who is meant by what a decision names, as it is now: of a face, whoever has it."""
    found = set()
    for one in _spoken_of(said):
        if PersonId(one) in view.snapshot.people:
            found.add(resolve(view.snapshot, PersonId(one)))
        elif one in view.faces.row and (owner := view.owner(FaceId(one))) is not None:
            found.add(owner)
    return found
