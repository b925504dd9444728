"""The embedded faces: counts, order, pictures, several processes, and a process killed at every step of a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facecluster.errors import InputError, StoreDataError
from facecluster.model import UserId, content_fingerprint
from facecluster.stores import local_faces
from facecluster.stores.local import Database, users_with_faces
from facecluster.stores.local_faces import LocalFaceStore

ROOT = Path(__file__).resolve().parents[2]


def opened(folder: Path) -> LocalFaceStore:
    return LocalFaceStore(Database(folder, UserId("anna")))


@pytest.fixture
def store(tmp_path):
    return opened(tmp_path)


def files(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{kind}.*"))


def test_an_empty_library_reads_as_no_faces(store):
    faces = store.read()
    assert len(faces) == 0
    assert faces.vectors.shape[0] == 0
    assert faces.boxes.shape == (0, 4)
    assert store.crop("nobody") == b""
    assert store.remove(["nobody"]) == 0


def test_faces_come_back_as_they_were_ordered_by_id(store, make_batch):
    batch = make_batch(
        ["b", "ä", "a", "Z", "😀", "\uffff"],
        photo=["1", "", "2", "", "", ""],
        url=["u", "", "", "", "", ""],
        folder=["", "f", "", "", "", ""],
        crop_urls=["", "", "https://x.example", "", "", ""],
        blur_score=[1.5, np.nan, 3, 4, 5, 6],
        boxes=[[1, 2, 3, 4], *[[np.nan] * 4] * 5],
        crops=[b"B", b"", b"A", b"", b"", b""],
    )
    assert store.add(batch) == (6, 0, 0)
    faces = store.read()
    order = sorted(range(6), key=lambda i: batch.ids[i])
    assert faces.ids == tuple(sorted(batch.ids))
    for column in ("photo", "url", "folder", "crop_urls"):
        assert getattr(faces, column) == tuple(getattr(batch, column)[i] for i in order)
    np.testing.assert_array_equal(faces.vectors, batch.vectors[order])
    np.testing.assert_array_equal(faces.blur_score, batch.blur_score[order])
    np.testing.assert_array_equal(faces.boxes, batch.boxes[order])
    assert [store.crop(face) for face in batch.ids] == list(batch.crops)
    assert faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)


def test_vectors_are_a_map_of_the_file_that_nobody_can_write_to(store, make_batch):
    store.add(make_batch(["a", "b"]))
    vectors = store.read().vectors
    assert isinstance(vectors, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1


def test_a_second_import_counts_what_was_added_replaced_and_left_alone(store, make_batch):
    store.add(make_batch(["a", "b", "c"], crops=[b"A", b"B", b""]))
    again = make_batch(["a", "b", "c", "d"], crops=[b"A", b"B", b"", b""], folder=["", "x", "", ""], seed=0)
    vectors = np.vstack([store.read().vectors, again.vectors[3:]])
    changed = make_batch(again.ids, vectors, folder=again.folder, crops=again.crops)
    assert store.add(changed) == (1, 1, 2)
    assert store.read().folder == ("", "x", "", "")
    assert store.add(changed) == (0, 0, 4)


def test_importing_the_same_again_changes_neither_version_nor_files(store, make_batch, tmp_path):
    batch = make_batch(["a", "b"], crops=[b"A", b"B"])
    store.add(batch)
    before = store.version(), files(tmp_path, "vectors"), files(tmp_path, "crops")
    store.add(batch)
    store.add(make_batch([]))
    assert (store.version(), files(tmp_path, "vectors"), files(tmp_path, "crops")) == before


def test_metadata_alone_changes_the_version_and_keeps_the_hierarchy_valid(store, make_batch, tmp_path):
    store.add(make_batch(["a", "b"]))
    before = store.version(), store.read().fingerprint, files(tmp_path, "vectors")
    assert store.add(make_batch(["a", "b"], folder=["x", "y"])) == (0, 2, 0)
    assert store.version() != before[0]
    assert (store.read().fingerprint, files(tmp_path, "vectors")) == before[1:]


def test_a_new_vector_replaces_the_old_one_at_its_place(store, make_batch):
    store.add(make_batch(["a", "b", "c"]))
    old = np.array(store.read().vectors)
    assert store.add(make_batch(["b"], seed=9)) == (0, 1, 0)
    new = store.read().vectors
    np.testing.assert_array_equal(new[[0, 2]], old[[0, 2]])
    np.testing.assert_array_equal(new[1], make_batch(["b"], seed=9).vectors[0])


def test_a_picture_stays_when_a_face_is_imported_again_without_one(store, make_batch):
    store.add(make_batch(["a"], crops=[b"first"]))
    store.add(make_batch(["a"], folder=["x"]))
    assert store.crop("a") == b"first"
    store.add(make_batch(["a"], folder=["x"], crops=[b"second"]))
    assert store.crop("a") == b"second"


def test_removing_faces_forgets_them_and_the_bytes_of_their_pictures(store, make_batch, tmp_path):
    batch = make_batch(["a", "b", "c"], crops=[b"picture-a", b"picture-b", b"picture-c"])
    store.add(batch)
    assert store.remove(["b", "nobody"]) == 1
    faces = store.read()
    assert faces.ids == ("a", "c")
    np.testing.assert_array_equal(faces.vectors, batch.vectors[[0, 2]])
    assert [store.crop(f) for f in "abc"] == [b"picture-a", b"", b"picture-c"]
    assert faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)
    left = b"".join(path.read_bytes() for path in tmp_path.glob("crops.*"))
    assert left == b"picture-apicture-c"


def test_removing_nobody_writes_nothing(store, make_batch):
    store.add(make_batch(["a"]))
    before = store.version()
    assert store.remove(["nobody"]) == 0
    assert store.version() == before


def test_an_emptied_library_takes_faces_of_another_dimension(store, make_batch):
    store.add(make_batch(["a"], crops=[b"A"]))
    assert store.remove(["a"]) == 1
    assert len(store.read()) == 0
    assert store.add(make_batch(["a"], dimension=4)) == (1, 0, 0)
    assert store.read().vectors.shape == (1, 4)
    assert store.crop("a") == b""


def test_faces_of_another_dimension_are_refused_and_nothing_is_written(store, make_batch):
    store.add(make_batch(["a"]))
    before = store.version()
    with pytest.raises(InputError, match="have 4 numbers each, and this library holds vectors of 8"):
        store.add(make_batch(["b"], dimension=4))
    assert store.version() == before
    assert store.read().ids == ("a",)


@pytest.mark.parametrize("damage", ["cut", "gone", "grown"])
def test_a_damaged_file_of_vectors_is_said_and_nothing_is_written(store, make_batch, tmp_path, damage):
    store.add(make_batch(["a", "b"]))
    path = tmp_path / files(tmp_path, "vectors")[0]
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[:-4] if damage == "cut" else whole + b"\0")
    before = store.version()
    for act in (store.read, lambda: store.add(make_batch(["c"])), lambda: store.remove(["a"])):
        with pytest.raises(StoreDataError, match="Nothing was changed"):
            act()
    assert store.version() == before
    path.write_bytes(whole)
    assert store.read().ids == ("a", "b")


def test_a_picture_cut_short_is_said_and_importing_again_mends_it(store, make_batch, tmp_path):
    batch = make_batch(["a", "b"], crops=[b"picture-a", b"picture-b"])
    store.add(batch)
    path = tmp_path / files(tmp_path, "crops")[0]
    path.write_bytes(path.read_bytes()[:-4])
    assert store.crop("a") == b"picture-a"
    with pytest.raises(StoreDataError, match=r"'b' is damaged.*Import it again"):
        store.crop("b")
    assert store.add(batch) == (0, 1, 1)
    assert [store.crop(f) for f in "ab"] == [b"picture-a", b"picture-b"]


def test_a_picture_cut_short_never_shifts_the_others(store, make_batch, tmp_path):
    for face in "bca":  # the last of the file is the first when the file is rewritten in the order of ids
        store.add(make_batch([face], crops=[f"picture-{face}".encode()]))
    path = tmp_path / files(tmp_path, "crops")[0]
    path.write_bytes(path.read_bytes()[:-4])
    store.remove(["b"])
    assert store.crop("c") == b"picture-c"
    with pytest.raises(StoreDataError, match="'a' is damaged"):
        store.crop("a")


def test_a_generation_that_is_swept_while_it_is_being_opened_is_read_from_the_next(
    store, make_batch, tmp_path, monkeypatch
):
    batch = make_batch(["a"], crops=[b"A"])
    store.add(batch)
    other = opened(tmp_path)
    for name, act in (("_vectors", lambda: store.read().ids), ("_crops", lambda: store.crop("a"))):
        real = getattr(LocalFaceStore, name)
        interruptions = iter(["x", "y"])

        def interrupted(self, *args, real=real, interruptions=interruptions):
            path = real(self, *args)
            if self is store and (extra := next(interruptions, None)):
                other.add(make_batch([extra + path.name], seed=1))
                other.remove([extra + path.name])  # writes new generations of both files and sweeps ours
            return path

        with monkeypatch.context() as patch:
            patch.setattr(LocalFaceStore, name, interrupted)
            assert act() in (("a",), b"A")
        assert next(interruptions, None) is None, "the other process never came between"


def child(folder: Path, script: str, *args: str) -> subprocess.Popen[str]:
    """Another process with an open store, and `batch(ids, seed)` at hand."""
    head = (
        "import os, signal, sys\nimport numpy as np\nfrom pathlib import Path\n"
        "from facecluster.model import FaceBatch, UserId\nfrom facecluster.stores import local_faces\n"
        "from facecluster.stores.local import Database\n"
        "def batch(ids, seed, crops=None):\n"
        "    n = len(ids); v = np.random.default_rng(seed).normal(size=(n, 8))\n"
        "    v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32); e = ('',) * n\n"
        "    return FaceBatch(tuple(ids), v, e, e, e, np.full(n, np.nan, np.float32),\n"
        "                     np.full((n, 4), np.nan, np.float32), tuple(crops or [b''] * n), e)\n"
        f"folder = Path({str(folder)!r})\n"
        "store = local_faces.LocalFaceStore(Database(folder, UserId('anna')))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_keeps_its_snapshot_while_another_process_writes(store, make_batch, tmp_path):
    store.add(make_batch(["a", "b"]))
    reader = child(
        tmp_path,
        "faces = store.read(); before = np.array(faces.vectors)\n"
        "print('read', flush=True); sys.stdin.readline()\n"
        "assert faces.ids == ('a', 'b') and np.array_equal(faces.vectors, before)\n"
        "print(store.read().ids, flush=True)\n",
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "read\n"
    store.add(make_batch(["0", "a"], seed=5))
    store.remove(["b"])
    out, err = reader.communicate("go\n", timeout=60)
    assert (reader.returncode, err, out) == (0, "", "('0', 'a')\n")


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    script = "for i in range(5): store.add(batch([f'{sys.argv[1]}{i}'], i, [b'crop-' + sys.argv[1].encode()]))\n"
    script += "store.read()\n"
    writers = [child(tmp_path, script, name) for name in "xyz"]  # they also make the library at once
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert (writer.returncode, err) == (0, "")
    store = opened(tmp_path)
    faces = store.read()
    assert faces.ids == tuple(f"{name}{i}" for name in "xyz" for i in range(5))
    assert {store.crop(face) for face in faces.ids} == {b"crop-x", b"crop-y", b"crop-z"}
    assert faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)
    assert len(files(tmp_path, "vectors")) == len(files(tmp_path, "crops")) == 1


KILL = """
def die(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
where, act = sys.argv[1:]
if where.startswith('fsync'):
    left = int(where[5:]); real = os.fsync
    def fsync(handle):
        global left
        left -= 1
        real(handle) if left else die()
    os.fsync = fsync
elif where == 'before the commit':
    local_faces.content_fingerprint = die
elif where == 'before the sweep':
    local_faces.LocalFaceStore.sweep = die
store.add(batch(['b', 'c'], 7, [b'new-b', b'new-c'])) if act == 'add' else store.remove(['a'])
print('survived')
"""


@pytest.mark.parametrize("act", ["add", "remove"])
@pytest.mark.parametrize(
    "where", ["fsync1", "fsync2", "fsync3", "before the commit", "before the sweep"]
)  # crops, vectors, folder for `add`; vectors, folder, crops for `remove`
def test_a_process_killed_at_any_step_leaves_the_old_library_or_the_new_one(where, act, store, make_batch, tmp_path):
    store.add(make_batch(["a", "b"], crops=[b"old-a", b"old-b"]))
    old = store.read()
    killed = child(tmp_path, KILL, where, act)
    out, err = killed.communicate(timeout=60)
    assert (killed.returncode, out) == (-signal.SIGKILL, ""), err

    after = opened(tmp_path)
    faces = after.read()
    if where == "before the sweep":
        expected = (("a", "b", "c"), [b"old-a", b"new-b", b"new-c"])
        expected = expected if act == "add" else (("b",), [b"old-b"])
    else:
        expected = (("a", "b"), [b"old-a", b"old-b"])
        assert faces.fingerprint == old.fingerprint
        np.testing.assert_array_equal(faces.vectors, old.vectors)
    assert (faces.ids, [after.crop(face) for face in faces.ids]) == expected
    assert faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)

    # What the killed process left behind goes with the next write, and nothing else does.
    after.add(make_batch(["d"], seed=3, crops=[b"new-d"]))
    assert len(files(tmp_path, "vectors")) == len(files(tmp_path, "crops")) == 1
    faces = opened(tmp_path).read()
    assert faces.ids == (*expected[0], "d")
    assert [after.crop(face) for face in faces.ids] == [*expected[1], b"new-d"]


def test_a_write_that_fails_leaves_the_store_usable(store, make_batch, monkeypatch):
    store.add(make_batch(["a"]))

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(local_faces, "sync", full)
        with pytest.raises(Exception, match=r"No space left on device.*Nothing was changed"):
            store.add(make_batch(["b"]))
    assert store.read().ids == ("a",)
    assert store.add(make_batch(["b"])) == (1, 0, 0)


def test_two_users_never_see_each_others_faces(tmp_path, make_batch):
    from facecluster.stores.local import user_folder

    for user in ("anna", "../anna", "ANNA"):
        LocalFaceStore(Database(user_folder(tmp_path, UserId(user)), UserId(user))).add(make_batch([f"face of {user}"]))
    for user in ("anna", "../anna", "ANNA"):
        faces = LocalFaceStore(Database(user_folder(tmp_path, UserId(user)), UserId(user))).read()
        assert faces.ids == (f"face of {user}",)
    assert users_with_faces(tmp_path) == {"anna": 1, "../anna": 1, "ANNA": 1}
    assert all(path.parent.parent == tmp_path / "users" for path in tmp_path.rglob("library.db"))


def test_a_library_that_was_never_finished_does_not_hide_the_others(tmp_path, make_batch):
    from facecluster.stores.local import user_folder

    LocalFaceStore(Database(user_folder(tmp_path, UserId("anna")), UserId("anna"))).add(make_batch(["a"]))
    (tmp_path / "users" / "half").mkdir()
    (tmp_path / "users" / "half" / "library.db").write_bytes(b"")
    assert users_with_faces(tmp_path) == {"anna": 1}
