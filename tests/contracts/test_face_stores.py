"""What every store of faces does, whether the faces are here or in an index far away."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from contracts.builders import FAR_FACES, local_faces
from contracts.changes import ODD
from PIL import Image

from facecluster.errors import CancelledError, FaceClusterError, InputError
from facecluster.model import Fetched, content_fingerprint


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (24, 24), shade).save(file, "PNG")
    return file.getvalue()


PICTURE = picture(1)


@pytest.fixture
def place(face_place):
    return face_place


@pytest.fixture
def store(place):
    return place.open("anna")


@pytest.fixture
def batch(make_batch, place):
    def build(ids, seed=0, **columns):
        return make_batch(ids, seed=seed, dimension=place.dimension, **columns)

    return build


@pytest.fixture
def elsewhere(place):
    """A store of the same faces on a machine that never saw them."""
    return place.fresh("anna")


of_another_machine = pytest.mark.parametrize("face_place", FAR_FACES, indirect=True)


def is_sound(faces) -> bool:
    return (
        faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)
        and list(faces.ids) == sorted(faces.ids)
        and {len(getattr(faces, n)) for n in ("vectors", "photo", "url", "folder", "crop_urls", "blur_score", "boxes")}
        == {len(faces)}
    )


def whole(store) -> tuple[object, ...]:
    """All that a store would tell, to compare."""
    faces = store.read()
    columns = (faces.ids, faces.photo, faces.url, faces.folder, faces.crop_urls, faces.fingerprint)
    return *columns, faces.blur_score.tolist().__repr__(), faces.boxes.tolist().__repr__(), store.version()


def test_an_empty_library_reads_as_no_faces(store):
    faces = store.read()
    assert len(faces) == 0
    assert faces.vectors.shape[0] == 0
    assert faces.boxes.shape == (0, 4)
    assert store.crop("nobody") == b""
    assert store.remove(["nobody"]) == 0
    assert is_sound(faces)


def test_what_was_read_once_need_not_be_fetched_again(store, batch):
    store.read()
    assert not store.must_fetch()
    store.add(batch(["a"]))
    assert not store.must_fetch()
    assert store.read().ids == ("a",)


def test_faces_come_back_as_they_were_ordered_by_id(store, place, batch):
    made = batch(
        ["b", "a10", "a", "Z", "a2"],
        photo=["1", "", "2", "", ""],
        url=["https://x.example/u?a=1&b=%20", "", "", "", ""],
        folder=["", "f", "", "", ""],
        crop_urls=["", "", "https://x.example/c.jpg", "", ""],
        blur_score=[1.5, np.nan, 3, 0, 5],
        boxes=[[1, 2, 3, 4], *[[np.nan] * 4] * 4],
        crops=[PICTURE, b"", b"", b"", picture(2)],
    )
    store.read()
    assert store.add(made) == (5, 0, 0)
    for reader in (store, place.open("anna")):
        faces = reader.read()
        order = sorted(range(5), key=lambda i: made.ids[i])
        assert faces.ids == ("Z", "a", "a10", "a2", "b")
        for column in ("photo", "url", "folder", "crop_urls"):
            assert getattr(faces, column) == tuple(getattr(made, column)[i] for i in order)
        np.testing.assert_array_equal(faces.vectors, made.vectors[order])
        np.testing.assert_array_equal(faces.blur_score, made.blur_score[order])
        np.testing.assert_array_equal(faces.boxes, made.boxes[order])
        assert [reader.crop(face) for face in made.ids] == list(made.crops)
        assert is_sound(faces)


def test_a_second_import_counts_what_was_added_replaced_and_left_alone(store, batch):
    assert store.add(batch(["a", "b", "c"], seed=1)) == (3, 0, 0)
    again = batch(["a", "b", "c"], seed=1, folder=["", "x", ""])
    assert store.add(again) == (0, 1, 2)
    assert store.add(batch(["c", "d"], seed=2)) == (1, 1, 0)
    assert store.read().folder == ("", "x", "", "")


def test_importing_the_same_again_changes_nothing(store, batch):
    made = batch(["a", "b"], crops=[PICTURE, b""], url=["https://x.example/1", ""])
    store.add(made)
    before = whole(store)
    assert store.add(made) == (0, 0, 2)
    assert whole(store) == before


def test_metadata_alone_changes_the_version_and_keeps_the_fingerprint(store, batch):
    store.add(batch(["a", "b"]))
    before = store.read().fingerprint, store.version()
    store.add(batch(["a", "b"], folder=["2024", ""]))
    assert store.read().fingerprint == before[0]
    assert store.version() != before[1]


def test_a_new_vector_replaces_the_old_one_at_its_place(store, batch):
    store.add(batch(["a", "b", "c"], seed=1))
    old = store.read()
    new = batch(["b"], seed=9)
    assert store.add(new) == (0, 1, 0)
    faces = store.read()
    assert faces.ids == old.ids
    np.testing.assert_array_equal(faces.vectors[1], new.vectors[0])
    np.testing.assert_array_equal(faces.vectors[[0, 2]], old.vectors[[0, 2]])
    assert faces.fingerprint != old.fingerprint
    assert is_sound(faces)


def test_a_picture_stays_when_a_face_is_imported_again_without_one(store, batch):
    store.add(batch(["a"], crops=[PICTURE]))
    assert store.add(batch(["a"], folder=["x"])) == (0, 1, 0)
    assert store.crop("a") == PICTURE
    assert store.read().folder == ("x",)


def test_removed_faces_are_forgotten_and_the_others_stay(store, place, batch):
    store.add(batch(["a", "b", "c", "d"], crops=[picture(2), PICTURE, picture(3), b""]))
    kept = store.read().vectors[[1, 3]].copy()
    assert store.remove(["a", "nobody", "c", "a"]) == 2
    for reader in (store, place.open("anna")):
        faces = reader.read()
        assert faces.ids == ("b", "d")
        np.testing.assert_array_equal(faces.vectors, kept)
        assert [reader.crop(face) for face in "abcd"] == [b"", PICTURE, b"", b""]
        assert is_sound(faces)


def test_removing_again_finds_nobody_and_changes_nothing(store, batch):
    store.add(batch(["a", "b"]))
    store.remove(["a"])
    before = whole(store)
    assert store.remove(["a"]) == 0
    assert store.remove([]) == 0
    assert whole(store) == before


def test_a_removed_face_can_come_back(store, batch):
    store.add(batch(["a", "b"], seed=1))
    before = store.read().fingerprint
    store.remove(["a", "b"])
    assert len(store.read()) == 0
    assert store.add(batch(["a", "b"], seed=1)) == (2, 0, 0)
    assert store.read().fingerprint == before


def test_faces_of_another_dimension_are_refused_and_nothing_is_written(store, make_batch, place, batch):
    store.add(batch(["a", "b"]))
    before = whole(store)
    with pytest.raises(FaceClusterError, match=rf"{place.dimension + 1} numbers.*Nothing was"):
        store.add(make_batch(["c", "d"], dimension=place.dimension + 1))
    assert whole(store) == before
    assert whole(place.open("anna"))[:-1] == before[:-1]


def test_more_faces_than_any_page_are_all_there(store, place, batch):
    ids = [f"face-{i:05d}" for i in range(2_500)]
    made = batch(ids, folder=[f"folder {i % 9}" for i in range(2_500)])
    assert store.add(made) == (2_500, 0, 0)
    for reader in (store, place.open("anna")):
        faces = reader.read()
        assert faces.ids == tuple(ids)
        np.testing.assert_array_equal(faces.vectors, made.vectors)
        assert faces.folder == made.folder
    assert store.remove(ids[:1_700]) == 1_700
    assert store.read().ids == tuple(ids[1_700:])
    assert is_sound(store.read())


@pytest.mark.parametrize("odd", ODD)
def test_any_text_comes_back_letter_for_letter_or_its_id_is_refused_with_nothing_written(odd, store, place, batch):
    store.add(batch(["a"]))
    made = batch(["b"], seed=1, url=[f"https://x.example/{odd}"], folder=[odd], photo=[f"https://x.example/{odd}"])
    assert store.add(made) == (1, 0, 0)
    assert store.read().folder == ("", odd)
    assert place.open("anna").read().url == ("", f"https://x.example/{odd}")
    before, face, refused = whole(store), f"id {odd} !", ""
    try:
        assert store.add(batch([face], seed=2, crops=[PICTURE])) == (1, 0, 0)
    except InputError as exc:  # Pinecone's own rule: ASCII alone
        refused = str(exc)
    if refused:
        assert "Nothing was" in refused
        assert not odd.isascii()
        assert whole(store) == before
        return
    assert set(place.open("anna").read().ids) == {"a", "b", face}
    assert store.crop(face) == PICTURE
    assert store.remove([face]) == 1
    assert store.read().ids == ("a", "b")


def test_two_users_never_see_each_others_faces(place, batch):
    for user, seed in (("anna", 1), ("bert", 2)):
        place.open(user).add(batch([f"{user}-1", f"{user}-2"], seed=seed, crops=[picture(seed), b""]))
    assert place.open("bert").remove(["anna-1"]) == 0
    for user in ("anna", "bert"):
        for store in [place.open(user), *([place.fresh(user)] if place.fresh else [])]:
            assert store.read().ids == (f"{user}-1", f"{user}-2")
        assert place.open(user).crop("anna-1") == (picture(1) if user == "anna" else b"")
    assert place.open("bert").remove(["bert-1", "bert-2"]) == 2
    if place.fresh:
        assert place.fresh("anna").read().ids == ("anna-1", "anna-2")


def test_an_id_that_another_user_has_is_ones_own_or_refused_and_theirs_stays(place, batch):
    of_anna, refused = batch(["same"], seed=1), ""
    place.open("anna").add(of_anna)
    try:
        place.open("bert").add(batch(["same"], seed=2))
    except FaceClusterError as exc:
        refused = str(exc)
    if refused:
        assert "Nothing was" in refused
        assert len(place.open("bert").read()) == 0
    place.open("bert").remove(["same"])
    for store in [place.open("anna"), *([place.fresh("anna")] if place.fresh else [])]:
        np.testing.assert_array_equal(store.read().vectors, of_anna.vectors)


def test_two_stores_on_one_library_notice_each_other(place, batch):
    one, two = place.open("anna"), place.open("anna")
    before = two.read().ids, two.version()
    one.add(batch(["a", "b"]))
    assert two.version() != before[1]
    assert two.read().ids == ("a", "b")
    two.remove(["a"])
    assert one.read().ids == ("b",)
    assert one.version() == two.version()


def test_a_reader_sees_one_moment_while_another_writes(place, batch):
    n, failed = (3 if place.is_slow else 12), []

    def write():
        try:
            store = place.open("anna")
            for i in range(n):
                store.add(batch([f"{i}-{k}" for k in range(40)], seed=i))
                store.remove([f"{i}-{k}" for k in range(10)])
        except Exception as exc:  # noqa: BLE001  (said by the test)
            failed.append(exc)

    writer, reader = threading.Thread(target=write), place.open("anna")
    writer.start()
    while True:
        was_alive = writer.is_alive()
        faces = reader.read()
        assert is_sound(faces)
        assert len(faces) % 10 == 0
        if not was_alive:
            break
    writer.join()
    assert not failed
    assert len(faces) == 30 * n


# --- where faces lie elsewhere


@pytest.mark.parametrize("face_place", [local_faces], indirect=True)
def test_a_store_that_is_its_own_source_has_nothing_to_fetch(store, batch):
    store.add(batch(["a"]))
    before = whole(store)
    assert not store.must_fetch()
    assert store.fetch() == store.fetch(everything=True) == Fetched()
    assert store.read().coverage is None
    assert whole(store) == before


@of_another_machine
def test_another_machine_fetches_the_same_faces(store, elsewhere, batch):
    ids = [f"face-{i:04d}" for i in range(1_234)]
    columns = {
        "url": [f"https://x.example/{i}.jpg" for i in range(1_234)],
        "folder": [f"f{i % 3}" for i in range(1_234)],
        "blur_score": [float(i) if i % 7 else np.nan for i in range(1_234)],
        "crops": [PICTURE if i % 5 == 0 else b"" for i in range(1_234)],
    }
    store.add(batch(ids, **columns))
    assert elsewhere.must_fetch()
    told = []
    found = elsewhere.fetch(progress=lambda done, words: told.append((done, words)))
    assert (found.added, found.replaced, found.removed) == (1_234, 0, 0)
    assert found.coverage is not None
    assert (found.coverage.n_read, found.coverage.n_there, found.coverage.is_complete) == (1_234, 1_234, True)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] <= 1.0
    assert not elsewhere.must_fetch()
    faces = elsewhere.read()
    assert faces.coverage == found.coverage
    assert faces.fingerprint == store.read().fingerprint, "another machine would have to cluster again"
    assert (faces.url, faces.folder) == (tuple(columns["url"]), tuple(columns["folder"]))
    np.testing.assert_array_equal(faces.blur_score, np.array(columns["blur_score"], np.float32))
    assert [elsewhere.crop(face) for face in ids] == columns["crops"]
    assert is_sound(faces)


@of_another_machine
def test_reading_what_was_never_fetched_fetches_it(store, elsewhere, batch):
    store.add(batch(["a", "b"]))
    assert elsewhere.must_fetch()
    assert elsewhere.read().ids == ("a", "b")
    assert not elsewhere.must_fetch()


@of_another_machine
def test_another_look_brings_what_is_new_and_drops_what_is_gone(store, elsewhere, batch):
    store.add(batch(["a", "b", "c"], seed=1))
    elsewhere.fetch()
    before = elsewhere.version()
    assert elsewhere.fetch() == Fetched(0, 0, 0, elsewhere.read().coverage)
    assert elsewhere.version() == before
    store.add(batch(["d", "e"], seed=2))
    store.remove(["b"])
    found = elsewhere.fetch()
    assert (found.added, found.replaced, found.removed) == (2, 0, 1)
    assert elsewhere.version() != before
    assert elsewhere.read().ids == ("a", "c", "d", "e")
    assert elsewhere.read().fingerprint == store.read().fingerprint


@of_another_machine
def test_a_vector_that_changed_in_place_is_seen_by_reading_everything_again(store, elsewhere, batch):
    store.add(batch(["a", "b", "c"], seed=1))
    elsewhere.fetch()
    store.add(batch(["b"], seed=5))
    found = elsewhere.fetch(everything=True)
    assert (found.added, found.replaced, found.removed) == (0, 1, 0)
    assert elsewhere.read().fingerprint == store.read().fingerprint


@of_another_machine
def test_faces_removed_by_one_machine_are_gone_for_another(store, elsewhere, batch):
    store.add(batch(["a", "b"]))
    elsewhere.fetch()
    assert elsewhere.remove(["a"]) == 1
    found = store.fetch()
    assert (found.added, found.replaced, found.removed) == (0, 0, 1)
    assert store.read().ids == ("b",)


@of_another_machine
def test_a_fetch_that_is_cancelled_leaves_what_was_there_and_can_be_taken_up_again(store, elsewhere, batch):
    store.add(batch(["a", "b"], seed=1))
    elsewhere.fetch()
    before = whole(elsewhere)
    store.add(batch([f"face-{i:04d}" for i in range(700)], seed=2))

    def stop(done: float, words: str) -> None:
        if done > 0:
            raise CancelledError("Cancelled. What was there is untouched.")

    with pytest.raises(CancelledError):
        elsewhere.fetch(progress=stop)
    assert whole(elsewhere) == before
    assert elsewhere.fetch().added == 700
    assert elsewhere.read().fingerprint == store.read().fingerprint
