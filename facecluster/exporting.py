"""A library as open files: JSON, CSV and Parquet that need nothing of ours to be read."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facecluster.decisions import people_in
from facecluster.errors import InputError
from facecluster.model import ChangeRecord, Decision, FaceId, PeopleSnapshot, PersonId, RunRecord
from facecluster.tables import as_csv
from facecluster.view import View


def people_table(view: View) -> list[dict[str, Any]]:
    """Everybody with faces or a name, most faces first."""
    return [
        {
            "cluster_id": card.id,
            "name": card.name,
            "face_count": card.n_faces,
            "hidden": card.is_hidden,
            "cover": card.cover,
        }
        for card in view.cards
    ]


def faces_table(view: View) -> list[dict[str, Any]]:
    """Every face, by id; noise has no `cluster_id`."""
    state, faces = view.state, view.faces
    reasons: Mapping[FaceId, str] = view.snapshot.run.reason if view.snapshot.run else {}
    people = state.people
    names = [view.snapshot.people[p].name for p in people]
    columns = zip(
        faces.ids,
        state.owner.tolist(),
        view.strength.tolist(),
        (state.pin >= 0).tolist(),
        faces.photo,
        faces.folder,
        strict=True,
    )
    return [
        {
            "id": face,
            "cluster_id": people[p] if p >= 0 else None,
            "name": names[p] if p >= 0 else "",
            "strength": round(strength, 6),
            "pinned": pinned,
            "reason": reasons.get(face, ""),
            "photo": photo,
            "folder": folder,
        }
        for face, p, strength, pinned, photo, folder in columns
    ]


def as_json(view: View) -> str:
    """Run, people and faces as one JSON object."""
    run = view.snapshot.run
    head = {"id": run.id, "params": dict(run.params), "fingerprint": run.fingerprint} if run else None
    found = {"run": head, "people": people_table(view), "faces": faces_table(view)}
    return json.dumps(found, ensure_ascii=False, indent=1)


def person_as_json(view: View, person: PersonId, crop: Callable[[FaceId], bytes]) -> str:
    """All that is kept of one person as one JSON object: faces with vector and picture, and every fact that names them.

    Each of its "faces" that is still here can be imported again as a line of a .jsonl file.
    """
    faces, people = view.everything_of(person)
    named = {*faces, *people}
    facts = [
        {"kind": kind, "subject": subject, "object": other, "value": value}
        for (kind, subject, other), value in sorted(view.snapshot.facts.items())
        if kind not in ("live_run", "run_name")
        and (named & {subject, other} or named & people_in(kind, subject, other, value))
    ]
    found = {
        "person": person,
        "name": view.person(person).name,
        "merged_into_them": [one for one in people if one != person],
        "faces": [_everything_about(view, face, crop) for face in faces],
        "facts": facts,
    }
    return json.dumps(found, ensure_ascii=False)


def _everything_about(view: View, face: FaceId, crop: Callable[[FaceId], bytes]) -> dict[str, Any]:
    row = view.faces.row.get(face)
    if row is None:
        return {"id": face, "in_library": False}
    faces, card, picture = view.faces, view.face(face), crop(face)
    box = faces.boxes[row].tolist()
    known = {
        "photo": card.photo,
        "url": faces.url[row],
        "folder": card.folder,
        "blur_score": card.blur_score,
        "box": None if any(math.isnan(side) for side in box) else box,
        "crop": b64encode(picture).decode("ascii") if picture else faces.crop_urls[row],
    }
    return {
        "id": face,
        "confirmed": card.is_confirmed,
        "strength": card.strength,
        **{key: value for key, value in known.items() if value not in (None, "")},
        "vector": [round(x, 9) for x in faces.vectors[row].tolist()],
    }


def runs_table(snapshot: PeopleSnapshot, runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Published runs as they come, with their names and which of them is live."""
    facts = snapshot.facts
    return [
        {
            "id": run.id,
            "at": run.at,
            "author": run.author,
            "name": facts.get(("run_name", run.id, ""), ""),
            "live": facts.get(("live_run", "", "")) == run.id,
            "faces": run.n_faces,
            "people": run.n_people,
            "in_nobody": run.n_noise,
            "params": dict(run.params),
        }
        for run in runs
    ]


def log_table(log: Sequence[ChangeRecord]) -> list[dict[str, Any]]:
    """One row for each decision of each change, newest first; a change without decisions has one row as well."""
    nothing = Decision("person", "", "", None, None)
    return [
        {
            "revision": record.revision,
            "at": record.at,
            "author": record.author,
            "title": record.title,
            "undoes": record.undoes,
            "erased": record.n_erased,
            "kind": one.kind if one is not nothing else "",
            "subject": one.subject,
            "object": one.object,
            "before": one.before,
            "value": one.value,
        }
        for record in log
        for one in record.decisions or (nothing,)
    ]


def log_as_csv(log: Sequence[ChangeRecord]) -> str:
    """`log_table` as CSV."""
    return as_csv(log_table(log))


def log_as_json(log: Sequence[ChangeRecord]) -> str:
    """Changes, newest first, each with its decisions."""
    return json.dumps([asdict(record) for record in log], ensure_ascii=False, indent=1)


def write_parquet(view: View, path: Path) -> None:
    """Faces as Parquet, with the run's parameters in the file's metadata.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields: list[tuple[str, Any]] = [
        ("id", pa.string()),
        ("cluster_id", pa.string()),
        ("name", pa.string()),
        ("strength", pa.float32()),
        ("pinned", pa.bool_()),
        ("reason", pa.string()),
        ("photo", pa.string()),
        ("folder", pa.string()),
    ]
    run = view.snapshot.run
    params = json.dumps(dict(run.params) if run else {})
    schema = pa.schema(fields, metadata={"facecluster.params": params})
    try:
        pq.write_table(pa.Table.from_pylist(faces_table(view), schema=schema), path)
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc}. Nothing was exported. Choose another file.") from exc
