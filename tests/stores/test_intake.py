"""What comes from a source, until it is shown: laws against a dictionary, what is kept aside, and what is let go of."""

from __future__ import annotations

import math
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facecluster.errors import StoreUnavailableError
from facecluster.importing import Refusal
from facecluster.model import Coverage, FaceBatch, UserId, content_fingerprint
from facecluster.stores import intake
from facecluster.stores.intake import Intake, alone, forget
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore

DIMENSION = 4
COMPLETE = Coverage(0, 0, True)


@pytest.fixture
def cache(tmp_path):
    return LocalFaceStore(Database(tmp_path / "cache", UserId("anna")))


def batch_of(faces):
    """Faces by id: (seed of the vector, folder, picture)."""
    n = len(faces)
    rows = np.array([np.random.default_rng(seed).standard_normal(DIMENSION) for seed, _, _ in faces.values()])
    rows = rows.reshape(n, DIMENSION).astype(np.float32)
    empty = ("",) * n
    return FaceBatch(
        ids=tuple(faces),
        vectors=rows,
        photo=empty,
        url=empty,
        folder=tuple(folder for _, folder, _ in faces.values()),
        blur_score=np.full(n, math.nan, np.float32),
        boxes=np.full((n, 4), math.nan, np.float32),
        crops=tuple(crop for _, _, crop in faces.values()),
        crop_urls=empty,
    )


def shown(cache):
    faces = cache.read()
    assert faces.fingerprint == content_fingerprint(faces.ids, faces.vectors)
    return {face: (faces.vectors[i].tobytes(), faces.folder[i], cache.crop(face)) for i, face in enumerate(faces.ids)}


def expected(faces):
    batch = batch_of(faces)
    return {face: (batch.vectors[i].tobytes(), batch.folder[i], batch.crops[i]) for i, face in enumerate(batch.ids)}


FACE = st.tuples(st.integers(0, 3), st.sampled_from(["", "x"]), st.sampled_from([b"", b"one", b"another"]))
FACES = st.dictionaries(st.sampled_from("abcdefgäZ"), FACE, max_size=9)


@settings(deadline=None)  # each example waits for the disk
@given(before=FACES, source=FACES, n_first=st.integers(0, 9), everything=st.booleans(), data=st.data())
def test_what_is_shown_is_what_the_source_lists(tmp_path_factory, before, source, n_first, everything, data):
    """Whatever was here, in however many attempts it came, and whatever was kept aside."""
    cache = LocalFaceStore(Database(tmp_path_factory.mktemp("cache"), UserId("anna")))
    if before:
        cache.add(batch_of(before))
    ids = data.draw(st.permutations(list(source)))
    for some, is_last in ((ids[:n_first], False), (ids, True)):
        with Intake(cache, "source", DIMENSION, everything) as look:
            assert look.note(some) == some
            assert look.note(some) == []
            wanted = look.wanted(some)
            look.receive(batch_of({face: source[face] for face in wanted}))
            if not is_last:
                assert shown(cache) == expected(before)
                continue
            assert look.tally().listed == look.tally().here == len(source)
            found = look.settle(COMPLETE)
    comes = {face for face in source if everything or face not in before}
    after = {}
    for face in source:
        seed, folder, crop = source[face] if face in comes else before[face]
        kept = before[face][2] if face in before and not crop else crop  # no picture takes none away
        after[face] = (seed, folder, kept)
    assert shown(cache) == expected(after)
    assert found.added == len(source.keys() - before.keys())
    assert found.removed == len(before.keys() - source.keys())
    assert found.replaced == sum(after[face] != before[face] for face in source.keys() & before.keys())


def test_nothing_new_writes_no_new_generation(cache, tmp_path):
    cache.add(batch_of({"a": (1, "", b"A"), "b": (2, "", b"")}))
    files = sorted(tmp_path.rglob("vectors.*"))
    for _ in range(2):
        with Intake(cache, "source", DIMENSION, everything=True) as look:
            look.note(["a", "b"])
            look.receive(batch_of({"b": (2, "", b""), "a": (1, "", b"A")}))
            found = look.settle(COMPLETE)
        assert (found.added, found.replaced, found.removed) == (0, 0, 0)
        assert sorted(tmp_path.rglob("vectors.*")) == files
    version = cache.version()
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["a", "b"])
        look.settle(COMPLETE)
    assert cache.version() == version


def test_the_version_changes_with_what_is_said_of_the_coverage(cache):
    cache.add(batch_of({"a": (1, "", b"")}))
    versions = [cache.version()]
    for coverage in (COMPLETE, Coverage(1, 2, False, "why"), Coverage(1, 2, False, "other")):
        with Intake(cache, "source", DIMENSION, everything=False) as look:
            look.note(["a"])
            look.settle(coverage)
        versions.append(cache.version())
        assert cache.coverage() == coverage
    assert len(set(versions)) == 4


def test_faces_of_another_source_do_not_count_as_here(cache):
    for source, seed in (("one", 1), ("other", 2)):
        with Intake(cache, source, DIMENSION, everything=False) as look:
            look.note(["a"])
            assert look.wanted(["a"]) == ["a"]
            look.receive(batch_of({"a": (seed, "", b"")}))
            look.settle(COMPLETE)
    assert shown(cache) == expected({"a": (2, "", b"")})


def test_what_another_source_left_aside_is_not_taken(cache):
    with Intake(cache, "one", DIMENSION, everything=False) as look:
        look.note(["a"])
        look.receive(batch_of({"a": (1, "", b"")}))
    with Intake(cache, "other", DIMENSION, everything=False) as look:
        look.note(["a"])
        assert look.wanted(["a"]) == ["a"]


def test_what_was_kept_aside_long_ago_is_read_again_by_who_asks_for_everything(cache, monkeypatch):
    with Intake(cache, "source", DIMENSION, everything=True) as look:
        look.note(["a"])
        look.receive(batch_of({"a": (1, "", b"")}))
    later = time.time() + 2 * 3600
    for everything, now, wanted in ((True, time.time(), []), (False, later, []), (True, later, ["a"])):
        monkeypatch.setattr(intake.time, "time", lambda now=now: now)
        with Intake(cache, "source", DIMENSION, everything) as look:
            look.note(["a"])
            assert look.wanted(["a"]) == wanted


def test_refused_faces_are_not_wanted_again_in_the_same_look(cache):
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["a", "b"])
        look.refuse([Refusal("a", "zero")], pictureless=2)
        assert look.wanted(["a", "b"]) == ["b"]
        tally = look.tally()
        assert (tally.listed, tally.here, tally.refused, tally.pictureless) == (2, 0, 1, 2)
        assert tally.reasons == (Refusal("a", "zero"),)
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["a", "b"])
        assert look.wanted(["a", "b"]) == ["a", "b"]


def test_faces_that_are_here_and_not_listed_are_found_page_by_page(cache):
    cache.add(batch_of({face: (1, "", b"") for face in "abcde"}))
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["b", "d"])
        assert look.unlisted("", 2) == ["a", "c"]
        assert look.unlisted("c", 2) == ["e"]


def test_forgetting_a_face_that_was_kept_aside_leaves_no_byte_of_it(cache, tmp_path):
    secret = b"the picture of a person"
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["a", "b"])
        look.receive(batch_of({"a": (1, "", secret), "b": (2, "", b"other")}))
    forget(cache, ["c"])
    assert list(tmp_path.rglob("incoming.bin"))
    forget(cache, ["a"])
    cache.database.forget()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert not list(tmp_path.rglob("incoming.f32"))


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_what_was_kept_aside_without_its_vectors_comes_again(cache, tmp_path, harm):
    faces = {f"f{i}": (i, "", b"") for i in range(5)}
    with Intake(cache, "index", 4, False) as intake:
        intake.note(list(faces))
        intake.receive(batch_of(faces))
    kept = tmp_path / "cache" / "incoming.f32"
    if harm == "lost":
        kept.unlink()
    else:
        os.truncate(kept, kept.stat().st_size - 1)
    with Intake(cache, "index", 4, False) as intake:
        assert intake.wanted(intake.note(list(faces))) == list(faces)


def test_what_was_given_up_is_not_left_behind_what_comes_next(cache, tmp_path):
    for source, n in (("one index", 5), ("another", 2)):
        with Intake(cache, source, 4, False) as intake:
            faces = {f"f{i}": (i, "", b"") for i in range(n)}
            intake.note(list(faces))
            intake.receive(batch_of(faces))
    assert (tmp_path / "cache" / "incoming.f32").stat().st_size == 2 * 4 * 4


def test_whoever_is_at_it_keeps_others_waiting_and_then_out(cache):
    with alone(cache, 1.0):
        with pytest.raises(StoreUnavailableError, match="by somebody else right now"), alone(cache, 0.2):
            pass
        done = []

        def wait():
            with alone(cache, 10.0):
                done.append(True)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        assert not done
    thread.join(5)
    assert done


def test_an_emptied_source_empties_the_library(cache, tmp_path):
    cache.add(batch_of({"a": (1, "", b"A")}))
    with Intake(cache, "source", DIMENSION, everything=False) as look:
        assert look.settle(COMPLETE).removed == 1
    assert len(cache.read()) == 0
    assert [path.stat().st_size for path in tmp_path.rglob("crops.*")] == [0]


def test_a_disk_that_is_full_changes_nothing_and_is_told(cache, monkeypatch):
    cache.add(batch_of({"a": (1, "", b"A")}))
    before = shown(cache)

    def full(*args):
        raise OSError(28, "No space left on device")

    with Intake(cache, "source", DIMENSION, everything=False) as look:
        look.note(["a", "b"])
        look.receive(batch_of({"b": (2, "", b"B")}))
        look.tally()
        with monkeypatch.context() as patch:
            patch.setattr(cache, "append_crops", full)
            with pytest.raises(Exception, match=r"No space left on device.*Nothing was changed"):
                look.settle(COMPLETE)
        assert shown(cache) == before
        assert look.settle(COMPLETE).added == 1
