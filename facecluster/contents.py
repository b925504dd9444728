"""All that a library holds, at one moment, and the hash that says whether two libraries hold the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from facecluster.model import ChangeRecord, FaceSet, PeopleSnapshot, Run, RunRecord
from facecluster.ports import PeopleStore

# What the hash is of. Another number where that changes, so that hashes of two versions are not compared.
DEFINITION = 1


@dataclass(frozen=True)
class Contents:
    """Faces, everything that was said of them, and the runs.

    Attributes
    ----------
    faces : FaceSet
        All of them.
    snapshot : PeopleSnapshot
        Facts and live run.
    log : Sequence[ChangeRecord]
        Every change, oldest first.
    runs : Sequence[RunRecord]
        Kept runs, oldest first.
    run : Callable[[str], Run]
        One of them with its rows: all at once would be the library five times.
    """

    faces: FaceSet
    snapshot: PeopleSnapshot
    log: Sequence[ChangeRecord]
    runs: Sequence[RunRecord]
    run: Callable[[str], Run]

    def hash(self) -> str:
        """SHA-256, hexadecimal: equal exactly where faces, facts, history and runs are.

        It is of what a curator said and of the faces, not of files: a library has the same one in every store and in
        every format, and before and after a backup. Neither whose it is nor what was computed from it (hierarchies,
        maps) has a part in it.
        """
        digest = hashlib.sha256(f"facecluster contents {DEFINITION}\n".encode())
        for part in self._parts():
            text = json.dumps(part, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
            digest.update(text.encode("ascii") + b"\n")
        return digest.hexdigest()

    def _parts(self) -> Iterator[object]:
        faces = self.faces
        yield ["faces", faces.fingerprint]
        pictures = faces.picture_marks or ("",) * len(faces)
        for i, face in enumerate(faces.ids):
            numbers = [None if v != v else v for v in (float(faces.blur_score[i]), *map(float, faces.boxes[i]))]
            texts = [faces.photo[i], faces.url[i], faces.folder[i], faces.crop_urls[i], pictures[i]]
            yield [face, *texts, *numbers]
        for (kind, subject, obj), value in sorted(self.snapshot.facts.items()):
            yield ["fact", kind, subject, obj, value]
        for record in self.log:
            yield ["change", *_plain(asdict(record))]
        for listed in self.runs:
            yield ["run", *_plain(asdict(listed)), *_rows(self.run(listed.id))]


def _plain(record: dict[str, Any]) -> list[object]:
    return [[key, value] for key, value in sorted(record.items())]


def _rows(run: Run) -> list[object]:
    questions = [[q.kind, q.person, q.other, q.n_faces] for q in run.questions]
    rows = sorted(zip(run.faces, run.owner, run.label.tolist(), run.strength.tolist(), strict=True))
    return [run.fingerprint, dict(run.reason), questions, rows]


def contents(faces: FaceSet, people: PeopleStore) -> Contents:
    """Everything at one revision: read again where somebody wrote meanwhile."""
    while True:
        snapshot = people.read()
        log = tuple(reversed(people.history(max(snapshot.revision, 1))))
        runs = tuple(sorted(people.runs(), key=lambda run: (run.at, run.id)))
        if people.revision() == snapshot.revision:
            return Contents(faces, snapshot, log, runs, people.run)
