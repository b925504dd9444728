"""The five entry points for other programs, field by field, on a real library."""

from __future__ import annotations

import asyncio
import base64
import io

import numpy as np
import pytest
from PIL import Image
from small_library import faces, open_library, write_faces

from facecluster.errors import ConfigError, InputError
from facecluster.people_view import (
    get_people,
    get_person_images,
    rename_cluster,
    run_clustering,
    search_cluster_aware,
)

USER = "someone|1"


def run(entry_point, *args):
    return asyncio.run(entry_point(*args))


def picture(shade):
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def service(tmp_path):
    """The library that the environment names, with faces but no run."""
    columns = faces()
    crops = [picture(i) if i % 3 else b"" for i in range(60)]
    columns["crops"] = np.frombuffer(b"".join(crops), np.uint8)
    columns["crop_offsets"] = np.cumsum([0, *map(len, crops)])
    columns["url"][5] = ""
    service = open_library(tmp_path / "library", USER)
    service.import_files([write_faces(tmp_path / "faces.npz", **columns)])
    return service


@pytest.fixture
def clustered(service):
    run(run_clustering, None, USER)
    return service


# --- run_clustering --------------------------------------------------------------------------------------------------


def test_clustering_publishes_at_once_and_counts_what_was_clustered(service):
    found = run(run_clustering, None, USER)
    assert list(found) == ["status", "total_vectors", "clusters_found", "noise_vectors"]
    view = service.view()
    assert found["status"] == "ok"
    assert found["total_vectors"] == 58  # two are blurred
    assert found["clusters_found"] == len(view.people()) > 3
    assert found["noise_vectors"] == len(view.noise)
    assert view.snapshot.run.params["refine"] is False
    assert view.snapshot.run.params["min_samples"] == service.settings.min_samples


def test_clustering_keeps_names_and_asks_instead_of_blocking(clustered, monkeypatch):
    person = run(get_people, USER)[0]["cluster_id"]
    run(rename_cluster, person, "Anna", USER)
    monkeypatch.setenv("CLUSTER_EPSILON", "1.2")
    monkeypatch.setenv("CLUSTER_METHOD", "cut")
    assert run(run_clustering, None, USER)["status"] == "ok"
    assert {p["name"] for p in run(get_people, USER) if p["cluster_id"] == person} == {"Anna"}
    assert clustered.view().state.questions


def test_too_few_vectors_are_skipped(tmp_path):
    assert run(run_clustering, None, "nobody") == {"status": "skipped", "reason": "not enough vectors", "vectors": 0}
    two = {key: value[:2] for key, value in faces().items()}
    open_library(tmp_path / "library", "few").import_files([write_faces(tmp_path / "few.npz", **two)])
    assert run(run_clustering, None, "few") == {"status": "skipped", "reason": "not enough vectors", "vectors": 2}


def test_too_few_sharp_vectors_are_skipped_and_counted(service, monkeypatch):
    monkeypatch.setenv("CLUSTERING_BLUR_THRESHOLD", "1000")
    assert run(run_clustering, None, USER) == {
        "status": "skipped",
        "reason": "only 0 non-blurry vectors after blur filtering",
        "vectors": 60,
        "valid_vectors": 0,
    }
    assert service.view().snapshot.run is None


def test_a_setting_that_makes_no_sense_is_an_error_and_not_a_silence(service, monkeypatch):
    monkeypatch.setenv("CLUSTER_MIN_SAMPLES", "none")
    with pytest.raises(ConfigError, match="CLUSTER_MIN_SAMPLES"):
        run(run_clustering, None, USER)


# --- get_people, get_person_images, rename_cluster -------------------------------------------------------------------


def test_people_come_most_faces_first_with_a_picture_of_themselves(clustered):
    people = run(get_people, USER)
    assert all(list(p) == ["cluster_id", "name", "face_count", "representative_face_crop"] for p in people)
    assert people == sorted(people, key=lambda p: (-p["face_count"], p["cluster_id"]))
    view = clustered.view()
    for person in people:
        card = view.card_of[person["cluster_id"]]
        assert person["face_count"] == card.n_faces == len(view.rows(card.id))
        assert base64.b64decode(person["representative_face_crop"]) == clustered.crop(card.cover)
    assert any(p["representative_face_crop"] for p in people)


def test_hidden_and_merged_people_and_those_without_faces_are_left_out(clustered):
    first, second, third, fourth, *_ = (p["cluster_id"] for p in run(get_people, USER))
    clustered.hide([first])
    clustered.merge(second, [third])
    clustered.rename(fourth, "Dora")
    clustered.mark([clustered.view().faces.ids[row] for row in clustered.view().rows(fourth)], "ignored")
    listed = {p["cluster_id"] for p in run(get_people, USER)}
    assert listed.isdisjoint({first, third, fourth})
    assert second in listed


def test_nobody_has_people_before_a_run_and_strangers_have_none_at_all(service):
    assert run(get_people, USER) == []
    assert run(get_people, "somebody else") == []


def test_images_of_a_person_are_listed_once_each_and_empty_addresses_are_left_out(clustered):
    view = clustered.view()
    seen = set()
    for card in view.people():
        images = run(get_person_images, card.id, USER)
        assert all(list(image) == ["url", "thumb_url", "folder", "face_crop"] for image in images)
        urls = [image["url"] for image in images]
        assert len(urls) == len(set(urls))
        assert set(urls) == {view.faces.url[row] for row in view.rows(card.id)} - {""}
        assert all(isinstance(value, str) for image in images for value in image.values())
        assert all(image["thumb_url"] for image in images)
        seen |= set(urls)
    assert "" not in seen
    assert len(seen) > 10


def test_images_of_somebody_unknown_are_none(clustered):
    person = run(get_people, USER)[0]["cluster_id"]
    assert run(get_person_images, "p-nobody", USER) == []
    assert run(get_person_images, person, "somebody else") == []


def test_renaming_says_whether_there_was_such_a_person(clustered):
    person = run(get_people, USER)[0]["cluster_id"]
    assert run(rename_cluster, person, "Anna", USER) is True
    assert clustered.view().person(person).name == "Anna"
    assert run(rename_cluster, person, "", USER) is True
    assert clustered.view().person(person).name == ""
    assert run(rename_cluster, "p-nobody", "Anna", USER) is False
    assert run(rename_cluster, person, "Anna", "somebody else") is False
    with pytest.raises(InputError, match="200 characters"):
        run(rename_cluster, person, "x" * 10_000, USER)


# --- search_cluster_aware --------------------------------------------------------------------------------------------


def hit(face, score):
    return {"vector_id": face, "fused_score": score, "extra": [1, 2]}


def test_a_search_is_widened_to_all_images_of_the_people_found(clustered):
    view = clustered.view()
    card = view.people()[0]
    row, *others = view.rows(card.id).tolist()
    direct = {view.faces.url[row]: hit(view.faces.ids[row], 0.8), "https://elsewhere/x.jpg": hit("unknown", 0.6)}
    found = run(search_cluster_aware, None, direct, USER)
    for url, entry in direct.items():
        assert found[url] == entry
    added = set(found) - set(direct)
    assert added == {view.faces.url[r] for r in others} - {"", view.faces.url[row]}
    for url in added:
        entry = found[url]
        assert entry == {
            "fused_score": pytest.approx(0.59),
            "arcface_score": 0.0,
            "adaface_score": 0.0,
            "raw_score": 0.0,
            "face_crop": entry["face_crop"],
            "folder": next(view.faces.folder[r] for r in others if view.faces.url[r] == url),
            "vector_id": None,
            "cluster_expanded": True,
        }
        assert isinstance(entry["face_crop"], str)


@pytest.mark.parametrize(("worst", "added"), [(0.5, 0.49), (0.015, 0.01), (0.01, 0.0), (0.0, -0.01), (-0.3, -0.31)])
def test_what_is_added_stands_below_every_direct_hit(clustered, worst, added):
    view = clustered.view()
    row = int(view.rows(view.people()[0].id)[0])
    found = run(search_cluster_aware, None, {view.faces.url[row]: hit(view.faces.ids[row], worst)}, USER)
    scores = {entry["fused_score"] for entry in found.values() if entry.get("cluster_expanded")}
    assert sorted(scores) == pytest.approx([added])
    assert max(scores) < worst


def test_a_missing_folder_is_uncategorized(tmp_path):
    columns = {key: value for key, value in faces().items() if key != "folder"}
    service = open_library(tmp_path / "library", USER)
    service.import_files([write_faces(tmp_path / "faces.npz", **columns)])
    run(run_clustering, None, USER)
    view = service.view()
    row = int(view.rows(view.people()[0].id)[0])
    found = run(search_cluster_aware, None, {view.faces.url[row]: hit(view.faces.ids[row], 0.5)}, USER)
    assert {e["folder"] for e in found.values() if e.get("cluster_expanded")} == {"uncategorized"}


@pytest.mark.parametrize("image_map", [{}, {"u": {"fused_score": 1.0}}, {"u": {"vector_id": None, "fused_score": 1.0}}])
def test_a_map_without_a_face_comes_back_unchanged(clustered, image_map):
    assert run(search_cluster_aware, None, image_map, USER) == image_map


def test_noise_and_unknown_faces_widen_nothing(clustered):
    noise = clustered.view().noise[0].face
    for face in (noise, "unknown", "'; drop table faces"):
        image_map = {"u": hit(face, 0.5)}
        assert run(search_cluster_aware, None, image_map, USER) == image_map


def test_the_map_that_was_given_is_left_as_it_was(clustered):
    view = clustered.view()
    row = int(view.rows(view.people()[0].id)[0])
    image_map = {view.faces.url[row]: hit(view.faces.ids[row], 0.5)}
    run(search_cluster_aware, None, image_map, USER)
    assert list(image_map) == [view.faces.url[row]]


@pytest.mark.parametrize(("user", "says"), [("", "user is empty"), ("\udcff", "is not valid text")])
def test_a_user_that_no_store_could_hold_is_refused(user, says):
    with pytest.raises(ConfigError, match=says):
        run(get_people, user)
