"""What a curator does to an embedded library, one act at a time, and all that a library says afterwards."""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import small_library
from PIL import Image

from facecluster.model import FaceBatch, PersonId
from facecluster.service import Service

OTHER_PARAMS = replace(small_library.PARAMS, min_samples=1, epsilon=0.8)


def picture(seed: int) -> bytes:
    """A small PNG of its own."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def with_pictures(columns: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The same columns of faces, each with its picture."""
    pictures = [picture(seed + i) for i in range(len(columns["ids"]))]
    offsets = np.cumsum([0, *map(len, pictures)])
    return columns | {"crops": np.frombuffer(b"".join(pictures), np.uint8), "crop_offsets": offsets}


def make_template(folder: Path) -> Path:
    """A library of 60 faces with pictures, two runs, names and pins; where it lies."""
    service = small_library.open_library(folder / "library")
    file = small_library.write_faces(folder / "faces.npz", **with_pictures(small_library.faces(), 0))
    service.import_files([file])
    for blur_threshold in (0.0, small_library.PARAMS.blur_threshold):
        service.prepare(blur_threshold, (1, 2, 3))
    service.publish(service.plan(OTHER_PARAMS), author="setup")
    service.publish(service.plan(small_library.PARAMS), author="setup")
    for i, card in enumerate(service.view().people()[:5]):
        service.rename(card.id, f"Person {i}", confirm=i % 2 == 0)
    more = small_library.faces(seed=1, strangers=2, prefix="more")
    some = {key: value[:10] for key, value in more.items()}
    small_library.write_faces(folder / "more.npz", **with_pictures(some, 1_000))
    settle(folder / "library")
    return folder / "library"


def settle(library: Path) -> None:
    """Copy everything into the file itself: copies are made of it alone."""
    for path in library.glob("users/*/library.db"):
        with closing(sqlite3.connect(path)) as db:
            db.execute("pragma wal_checkpoint(truncate)")


def copied(library: Path, to: Path) -> Path:
    """A copy without what stands beside an open database, and that stays: SQLite knows an open file by its inode."""
    shutil.copytree(library, to, ignore=shutil.ignore_patterns("*-shm", "*-wal"))
    return to


class Acts:
    """The acts, with what has to be worked out for them done beforehand, so that each of them only writes."""

    def __init__(self, template: Path) -> None:
        self._aside = tempfile.TemporaryDirectory(prefix="facecluster-acts-")
        service = small_library.open_library(copied(template, Path(self._aside.name) / "library"))
        self._plan = service.plan(OTHER_PARAMS)
        self._more = template.parent / "more.npz"
        self._known: dict[str, Callable[[Service], object]] = {
            "rename": lambda s: s.rename(self.second(s), "Anna", confirm=True),
            "publish": lambda s: s.publish(self._plan),
            "import": lambda s: s.import_files([self._more]),
            "undo": lambda s: s.undo(s.view().snapshot.revision),
            "erase": self._erase,
            "erase the faces": lambda s: s._faces.remove(s.view().everything_of(self.second(s))[0]),
            "prepare": self._prepare,
            "open": lambda s: s.view(),
        }

    def do(self, act: str, library: Path) -> None:
        """Open the library and do it.

        "edits 7" is one edit after the other, by the chances of seed 7; "publish 7" a run that no other number makes.
        """
        service = small_library.open_library(library)
        if act.startswith("edits "):
            self._edits(service, random.Random(act), acknowledgements(library))
        elif act.startswith("publish "):
            epsilon = OTHER_PARAMS.epsilon + int(act.removeprefix("publish ")) / 1_000
            service.publish(service.plan(replace(OTHER_PARAMS, epsilon=epsilon)))
        else:
            self._known[act](service)

    def _edits(self, service: Service, chance: random.Random, told: Path) -> None:
        """Edit without an end, and tell of each edit once it is written."""
        with told.open("a", encoding="utf-8") as file:
            while True:
                view = service.view()
                people = view.people(show_hidden=True)[:6]
                kind = chance.choice(["name", "name", "pin", "hidden", "publish"]) if people else "publish"
                person = chance.choice(people).id if people else PersonId("")
                if kind == "name":
                    key, value = ("name", person, ""), f"Person {chance.random()}"
                    revision = service.rename(person, value)
                elif kind == "pin":
                    face = chance.choice(view.faces.ids)
                    key, value = ("pin", face, ""), person
                    revision = service.move([face], person)
                elif kind == "hidden":
                    is_hidden = not view.person(person).is_hidden
                    key, value = ("hidden", person, ""), "1" if is_hidden else None
                    revision = service.hide([person], is_hidden)
                else:
                    plan = service.plan(chance.choice([OTHER_PARAMS, small_library.PARAMS]))
                    key, value = ("live_run", "", ""), plan.run.id
                    revision = service.publish(plan)
                file.write(json.dumps([revision, key, value]) + "\n")
                file.flush()

    @staticmethod
    def second(service: Service) -> PersonId:
        """Somebody who has a name."""
        names = {name: person for (kind, person, _), name in service.view().snapshot.facts.items() if kind == "name"}
        return PersonId(names.get("Person 1") or names["Anna"])

    def _erase(self, service: Service) -> None:
        person = self.second(service)
        service.erase(person, len(service.view().everything_of(person)[0]))

    @staticmethod
    def _prepare(service: Service) -> None:
        service.prepare(100.0, (1, 2))


def acknowledgements(library: Path) -> Path:
    """Where edits are told that were written."""
    return library.with_suffix(".told")


def lacking_format_2(library: Path) -> Path:
    """The library as the first version would have left it."""
    for path in library.glob("users/*/library.db"):
        with closing(sqlite3.connect(path)) as db:
            db.execute("alter table log drop column n_erased")
            db.execute("pragma user_version = 1")
            db.execute("pragma wal_checkpoint(truncate)")
    return library


def told(library: Path) -> dict[str, object]:
    """All that a library says to the process that opens it next, without the times."""
    service = small_library.open_library(library)
    view = service.view()
    faces, snapshot = view.faces, view.snapshot
    for path in library.glob("users/*/library.db"):
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
            assert db.execute("pragma foreign_key_check").fetchall() == []
    runs = [(record, service._people.run(record.id)) for record in service.runs()]
    return {
        "faces": (faces.ids, faces.photo, faces.url, faces.folder, faces.blur_score.tolist()),
        "vectors": sha256(np.ascontiguousarray(faces.vectors).tobytes()).hexdigest(),
        "pictures": [sha256(service.crop(face)).hexdigest() for face in faces.ids],
        "facts": dict(snapshot.facts),
        "runs": [
            (r.id, r.n_faces, r.n_people, r.n_noise, run.faces, run.owner, run.label.tolist(), run.strength.tolist())
            for r, run in runs
        ],
        "log": [(r.revision, r.title, r.decisions, r.undoes, r.n_erased) for r in service.history(10_000)],
    }


def batch_of(n: int, seed: int) -> FaceBatch:
    """Random faces without pictures, in 64 dimensions."""
    vectors = np.random.default_rng(seed).standard_normal((n, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    nothing = ("",) * n
    return FaceBatch(
        ids=tuple(f"face-{seed}-{i:07d}" for i in range(n)),
        vectors=vectors, photo=nothing, url=nothing, folder=nothing,
        blur_score=np.full(n, 100, np.float32), boxes=np.full((n, 4), np.nan, np.float32),
        crops=(b"",) * n, crop_urls=nothing,
    )  # fmt: skip
