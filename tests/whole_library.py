"""Libraries by chance in which everything occurs that a store can hold: odd names, pictures, runs, undone, erased."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import numpy as np
from contracts.changes import ODD, change, plain_run, publish, said
from PIL import Image

from facecluster.contents import Contents, contents
from facecluster.model import FaceBatch, FaceId, UserId, content_fingerprint
from facecluster.stores.local import Database, user_folder
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore

DIMENSION = 8
ODD_IDS = ("a/b\\c", "=1+1", "ünï 写真", "../../etc/passwd", "<b>&amp;", "🙂", "null", "0")


def picture(rng: np.random.Generator, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).save(out, kind)
    return out.getvalue()


def batch(rng: np.random.Generator, ids: list[str]) -> FaceBatch:
    """Faces of which much is unknown: some without picture, box, score or photo."""
    n = len(ids)
    vectors = rng.standard_normal((n, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    corner = rng.integers(0, 900, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 90, (n, 2))], axis=1).astype(np.float32)
    boxes[rng.random(n) < 0.3] = np.nan
    blur = rng.uniform(0, 300, n).astype(np.float32)
    blur[rng.random(n) < 0.3] = np.nan
    photo = tuple("" if rng.random() < 0.2 else f"photos/{i // 2} & ü.jpg" for i in range(n))
    kinds = ("JPEG", "PNG", "WEBP")
    return FaceBatch(
        ids=tuple(ids),
        vectors=vectors,
        photo=photo,
        url=tuple(f"https://img.example/{p}" if p else "" for p in photo),
        folder=tuple(("", "2024", "=cmd()")[i % 3] for i in range(n)),
        blur_score=blur,
        boxes=boxes,
        crops=tuple(picture(rng, kinds[i % 3]) if rng.random() < 0.7 else b"" for i in range(n)),
        crop_urls=tuple("https://img.example/c.jpg" if rng.random() < 0.2 else "" for _ in range(n)),
    )


def database(library: Path, user: str = "anna") -> Database:
    return Database(user_folder(library, UserId(user)), UserId(user))


def fill(library: Path, seed: int, user: str = "anna") -> None:
    """A user's library, by chance."""
    rng = np.random.default_rng(seed)
    with closing(database(library, user)) as db:
        faces, people = LocalFaceStore(db), LocalPeopleStore(db)
        n = int(rng.integers(3, 40))
        ids = [*(i for i in ODD_IDS if rng.random() < 0.4), *(f"face-{i:03d}" for i in range(n))]
        faces.add(batch(rng, ids))
        if rng.random() < 0.5:
            faces.add(batch(rng, ids[: n // 2] + [f"later-{i}" for i in range(3)]))
        owners = [f"p{int(k)}" if k else None for k in rng.integers(0, 5, len(ids))]
        publish(people, plain_run("first", ids, owners), *[said("person", f"p{k}", "1") for k in range(1, 5)])
        for k in range(1, 5):
            _say(rng, people, k, ids)
        if rng.random() < 0.6:
            other = [owners[int(i)] for i in rng.permutation(len(ids))]
            publish(people, plain_run("second", sorted(ids), other), said("run_name", "first", "kept, “ü”"))
        if rng.random() < 0.4:
            people.apply(change(people.revision(), title="Erased", erased=(ids[0], "p4")))
            faces.remove([FaceId(ids[0])])


def _say(rng: np.random.Generator, people: LocalPeopleStore, k: int, ids: list[str]) -> None:
    name = str(rng.choice(np.array(ODD, object)))
    face, other = (ids[int(i)] for i in rng.choice(len(ids), 2, replace=False))
    words = [said("name", f"p{k}", name), said("pin", face, f"p{k}"), said("not_person", other, "1", about=f"p{k}")]
    known = people.read().facts
    people.apply(change(people.revision(), *[w for w in words if w.key not in known], title=f"Named “{name}”"))
    if rng.random() < 0.3:
        last = people.history(1)[0]
        taken_back = [said.inverse() for said in reversed(last.decisions)]
        people.apply(change(last.revision, *taken_back, title="Undid", undoes=last.revision))


def contents_in(library: Path, user: str = "anna") -> Contents:
    """All that a user's library holds, opened as the next process will."""
    db = database(library, user)
    return contents(LocalFaceStore(db).read(), LocalPeopleStore(db))


def hash_of(library: Path, user: str = "anna") -> str:
    """The library's own hash, once vectors and pictures were read and found to be those that it speaks of."""
    with closing(database(library, user)) as db:
        store = LocalFaceStore(db)
        faces = store.read()
        assert content_fingerprint(faces.ids, faces.vectors) == faces.fingerprint, "other vectors"
        assert all(bool(store.crop(face)) == bool(faces.picture_marks[i]) for i, face in enumerate(faces.ids))
        return contents(faces, LocalPeopleStore(db)).hash()


def pictures_in(library: Path, user: str = "anna") -> dict[str, bytes]:
    with closing(database(library, user)) as db:
        store = LocalFaceStore(db)
        return {face: store.crop(face) for face in store.read().ids}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte by byte; SQLite's own working files do not count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }
