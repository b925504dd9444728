"""Status: what is in force, what waits, and the way to the demo and back."""

from __future__ import annotations

import pytest

from facecluster.config import load_settings
from facecluster.wiring import open_service


def fill(library, batch):
    library._faces.add(batch)


def test_counts_settings_and_versions_are_shown_and_secrets_are_not(app, demo_library, monkeypatch, texts):
    monkeypatch.setenv("FACE_SEARCH_TOP_K", "77")
    test = app("status")
    said = texts(test)
    for expected in (
        "1,200 in 659 photos",
        "FACE_SEARCH_TOP_K\n77",
        "streamlit",
        "embedded",
        "FACECLUSTER_IMAGE_HOSTS\nnot set",
    ):
        assert expected in said


def test_a_secret_is_masked(app, empty_library, monkeypatch, texts):
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "very-secret")
    said = texts(app("status"))
    assert "SUPABASE_SERVICE_KEY\n****" in said
    assert "very-secret" not in said


def test_from_the_demo_to_the_own_library_and_back(app, demo_library, texts):
    test = app("status")
    assert "You are looking at the demo" in texts(test)
    test.button(key="open-own").click().run()
    assert "This library is empty" in texts(test)
    test.button(key="open-demo").click().run()
    assert "You are looking at the demo" in texts(test)


@pytest.mark.parametrize("fixture", ["demo_library", "empty_library"])
def test_where_others_have_faces_the_setting_is_named(app, request, make_batch, fixture, texts):
    request.getfixturevalue(fixture)
    fill(open_service(load_settings(), "https://id|anna lee"), make_batch(["a", "b"]))
    test = app("status")
    assert "The user local has no faces" in texts(test)
    assert "FACECLUSTER_USER='https://id|anna lee'" in [code.value for code in test.code]
    assert "https://id|anna lee: 2 faces" in texts(test)


def test_hosts_that_are_not_allowed_are_offered(app, make_batch, monkeypatch, texts):
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "known.org")
    own = open_service(load_settings())
    url = ["https://known.org/1.jpg", "https://photos.example/2.jpg", "http://photos.example/3.jpg"]
    fill(own, make_batch(["a", "b", "c"], url=url))
    test = app("status")
    assert "FACECLUSTER_IMAGE_HOSTS=known.org,photos.example" in [code.value for code in test.code]
    assert "photos.example\n1 face" in texts(test)


def test_faces_set_aside_are_taken_back(app, demo_library, texts):
    face = demo_library.view().noise[0].face
    demo_library.mark([face], "not_a_face")
    test = app("status")
    assert "not a face" in texts(test)
    test.checkbox(key=f"pick-aside-0-{face}").check().run()
    assert test.button(key="take-back").label == "Take back 1 face"
    test.button(key="take-back").click().run()
    assert demo_library.view().set_aside == []
    assert not test.exception


def test_faces_that_wait_are_left_out_by_a_rebuild_in_a_worker(app, demo_library, texts):
    demo_library.mark([loose.face for loose in demo_library.view().noise[:3]], "ignored")
    assert demo_library.waiting_for_rebuild == 3
    test = app("status")
    assert test.button(key="rebuild").label == "Rebuild without 3 faces"
    test.button(key="rebuild").click().run()
    for _ in range(120):
        if not demo_library.waiting_for_rebuild:
            break
        test.run()
    assert demo_library.waiting_for_rebuild == 0
    test.run()
    assert "Waiting for a rebuild" not in texts(test)
    assert not test.exception


def test_an_empty_library_says_where_it_is(app, empty_library, texts):
    test = app("status")
    assert "This library is empty" in texts(test)
    assert str(load_settings().library) in texts(test)
