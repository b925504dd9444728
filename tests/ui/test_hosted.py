"""The pages while faces lie in a Pinecone index: first reading, new faces, what is missing, and what is told of it."""

from __future__ import annotations

import time

import pytest
import streamlit as st
from servers.pinecone_server import PineconeServer
from small_library import PARAMS, faces

from facecluster.config import load_settings
from facecluster.ui import fetching
from facecluster.wiring import open_service

PLACES = ["people", "map", "find", "tune", "noise", "history", "status", "person"]


def put(server, columns, namespace="anna"):
    metadata = [
        {"url": str(url), "folder": str(folder), "blur_score": float(blur)}
        for url, folder, blur in zip(columns["url"], columns["folder"], columns["blur_score"], strict=True)
    ]
    server.put([str(i) for i in columns["ids"]], columns["vectors"], metadata, namespace)


def connect(monkeypatch, server):
    monkeypatch.setenv("PINECONE_API_KEY", server.api_key)
    monkeypatch.setenv("PINECONE_HOST", server.url)
    monkeypatch.setenv("PINECONE_NAMESPACE", "anna")


@pytest.fixture
def index(monkeypatch):
    """An index with the 60 small faces in the namespace anna, and the settings that lead to it."""
    with PineconeServer(dimension=16, api_key="secret-of-anna") as server:
        put(server, faces())
        connect(monkeypatch, server)
        yield server


@pytest.fixture
def fetched(index):
    """The same, read and published."""
    library = open_service(load_settings())
    library.fetch()
    library.publish(library.plan(PARAMS))
    return library


def until(test, is_so, seconds=90):
    """Draw the page again until something is so, as its own timers would."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.2)
        test.run()
        assert not test.exception
    assert is_so()
    return test


def title(test):
    return test.title[0].value if test.title else ""


# --- the first visit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["people", "status", "tune"])
def test_the_first_visit_is_a_welcome_with_progress_and_then_the_page(app, index, texts, page):
    test = app(page)
    assert title(test) == "Welcome"
    assert "Reading your faces from Pinecone" in texts(test)
    assert "faces-arcface" in texts(test)
    assert [b.label for b in test.button] == ["Cancel: reading faces"]
    until(test, lambda: title(test) != "Welcome")
    assert "60 faces" in texts(test)


def test_a_refusal_is_a_sentence_and_start_again_goes_on(app, index, texts):
    index.api_key = "changed at Pinecone"
    test = app("people")
    until(test, lambda: "Start again" in [b.label for b in test.button])
    said = texts(test)
    assert "PINECONE_API_KEY" in said
    assert "secret-of-anna" not in said
    assert title(test) == "Welcome"
    index.api_key = "secret-of-anna"
    next(b for b in test.button if b.label == "Start again").click().run()
    until(test, lambda: title(test) == "People")


@pytest.mark.parametrize("page", PLACES)
def test_once_read_no_page_asks_pinecone_again(app, fetched, index, page):
    test = app(page)
    until(test, lambda: "Looking for new faces …" not in [e.value for e in test.text])
    asked = len(index.requests)
    test.run()
    test.run()
    assert not test.exception
    assert len(index.requests) == asked


# --- new faces -----------------------------------------------------------------------------------------------------


def test_new_faces_are_looked_for_once_for_each_start_and_lead_to_tune(app, fetched, index, texts):
    put(index, faces(seed=5, prefix="new"))
    test = app("people")
    assert title(test) == "People"
    until(test, lambda: "60 new faces from Pinecone" in texts(test))
    n_looks = len([r for r in index.requests if r.path == "/vectors/list"])
    app("people")
    app("noise")
    time.sleep(4)
    assert len([r for r in index.requests if r.path == "/vectors/list"]) == n_looks
    st.cache_resource.clear()  # as a start of the server
    app("people")
    until(test, lambda: len([r for r in index.requests if r.path == "/vectors/list"]) == n_looks + 2)  # 120 ids


def test_the_line_goes_once_they_are_sorted_in(app, fetched, index, texts):
    put(index, faces(seed=5, prefix="new"))
    fetched.fetch()
    assert "60 new faces from Pinecone" in texts(app("people"))
    fetched.publish(fetched.plan(PARAMS))
    assert "from Pinecone" not in texts(app("people"))


def test_a_look_that_fails_leaves_the_pages_as_they_were(app, fetched, index, texts):
    index.api_key = "changed at Pinecone"
    test = app("people")
    until(test, lambda: "New faces could not be looked for; Status says why." in texts(test))
    assert title(test) == "People"
    assert "PINECONE_API_KEY" in texts(app("status"))


# --- Status --------------------------------------------------------------------------------------------------------


def test_status_says_where_everything_is_and_shows_no_key(app, fetched, texts):
    test = app("status")
    said = texts(test)
    for expected in ("faces-arcface", "namespace anna", "All 60 faces of the index are here.", "User\nlocal"):
        assert expected in said
    assert "secret-of-anna" not in said + repr(test)


def test_look_for_new_faces_brings_them_and_says_when(app, fetched, index, texts):
    test = app("status")
    until(test, lambda: "fetch-new" in [b.key for b in test.button])
    put(index, faces(seed=5, prefix="new"))
    test.button(key="fetch-new").click().run()
    until(test, lambda: "All 120 faces of the index are here." in texts(test))
    until(test, lambda: "fetch-new" in [b.key for b in test.button])
    assert "just now" in texts(test)


def test_read_all_again_brings_what_was_changed_in_place(app, fetched, index, texts):
    put(index, faces() | {"folder": ["moved"] * 60})
    test = app("status")
    until(test, lambda: "fetch-all" in [b.key for b in test.button])
    assert "60 faces" in test.button(key="fetch-all").help
    assert fetched.view().faces.folder[0] != "moved"
    test.button(key="fetch-all").click().run()
    until(test, lambda: set(fetched.view().faces.folder) == {"moved"})


def test_the_demo_opens_and_leads_back_while_the_index_was_never_read(app, index, demo_library, texts):
    test = app("status")
    assert title(test) == "Welcome"
    test.session_state["fc_library"] = "demo"
    test.run()
    assert "You are looking at the demo" in texts(test)
    assert "secret-of-anna" not in texts(test)
    assert "Pinecone" not in "".join(e.value for e in test.subheader)
    test.button(key="open-own").click().run()
    assert title(test) == "Welcome"


# --- what is not there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["people", "map", "find", "tune", "noise"])
def test_an_empty_namespace_is_named_with_those_that_hold_faces(app, index, monkeypatch, texts, page):
    monkeypatch.setenv("PINECONE_NAMESPACE", "bert")
    open_service(load_settings()).fetch()
    said = texts(app(page))
    assert "No faces yet" in said
    assert "bert" in said
    assert "anna" in said
    assert "facecluster import" not in said


def test_tune_and_history_say_that_only_a_part_is_here(app, monkeypatch, texts):
    with PineconeServer(dimension=16, api_key="secret-of-anna", pod=True) as server:
        put(server, faces())
        connect(monkeypatch, server)
        library = open_service(load_settings())
        library.fetch()
        coverage = library.view().faces.coverage
        library.prepare(PARAMS.blur_threshold, (1, 2, 3, 4, 5))
        test = app("tune")
        assert f"{coverage.n_read} of {coverage.n_there} faces of the index are here." in texts(test)
        assert f"Sorts {coverage.n_read} faces, perhaps not all." in texts(test)
        library.publish(library.plan(PARAMS))
        assert f"Made of {coverage.n_read} faces, perhaps not all, in the index" in texts(app("history"))


def test_how_much_of_the_index_a_run_was_made_of():
    def said(**source):
        return fetching.of_run({"source": source})

    assert said(read=11_500, there=12_000, complete=False) == "Made of 11,500 of 12,000 faces in the index"
    assert said(read=11_500, there=None, complete=False) == "Made of 11,500 faces, perhaps not all, in the index"
    assert said(read=12_000, there=12_000, complete=True) == ""
    assert fetching.of_run({"epsilon": 0.3}) == ""


def test_a_count_that_lags_is_said_where_it_is_published(app, index, texts):
    index.stats_lag = 1
    put(index, faces(seed=5, prefix="new"))
    library = open_service(load_settings())
    library.fetch()
    coverage = library.view().faces.coverage
    assert not coverage.is_complete
    library.prepare(PARAMS.blur_threshold, (1, 2, 3, 4, 5))
    said = texts(app("tune"))
    assert coverage.in_words() in said
    assert "Sorts " in said


def test_nothing_is_said_of_parts_where_all_is_here(app, fetched, texts):
    fetched.prepare(PARAMS.blur_threshold, (1, 2, 3, 4, 5))
    assert "of the index" not in texts(app("tune"))
    assert "in the index" not in texts(app("history"))


def test_erasing_says_pinecone_and_takes_the_vectors_out_of_it(app, fetched, index, texts):
    card = fetched.view().people()[0]
    ids = fetched.view().everything_of(card.id)[0]
    test = app("person", id=card.id)
    test.button(key="erase").click().run()
    assert "on this machine and in Pinecone" in texts(test)
    test.text_input(key=f"erase-typed-{card.id}").set_value(str(len(ids))).run()
    test.button(key="erase-now").click().run()
    assert not test.exception
    assert title(test) == "People"
    assert not set(ids) & set(index.sorted_ids("anna"))
    assert len(index.sorted_ids("anna")) == 60 - len(ids)


def test_a_setting_that_makes_no_sense_is_a_sentence_on_every_page(app, index, monkeypatch, texts):
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "not a host")
    for page in PLACES:
        assert "FACECLUSTER_IMAGE_HOSTS" in texts(app(page))
