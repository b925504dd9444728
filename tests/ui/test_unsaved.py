"""A name that is typed while Supabase is away is kept, said to be unsaved, and saved by one click."""

from __future__ import annotations

import pytest
from servers.faults import Fault
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer
from small_library import make_library

from facecluster.config import load_settings
from facecluster.ui import session
from facecluster.wiring import open_service


@pytest.fixture
def rest():
    with RestServer(shared_postgres().database()) as server:
        yield server


@pytest.fixture
def library(rest, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", rest.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", rest.service_key)
    monkeypatch.setattr(session, "_PATIENCE_S", 1.0)
    make_library(tmp_path)
    return open_service(load_settings())


@pytest.fixture
def away(app, rest, library):
    """People, on which “Ada” was just typed for the first person while Supabase was away; it is back now."""
    test = app("people")
    person = library.view().people()[0].id
    rest.faults.add("/rest/v1/", Fault.status(503), times=1_000_000)
    test.text_input(key=f"name-{person}-").set_value("Ada").run()
    assert not test.exception
    rest.faults.clear()
    return test


def test_while_it_is_away_the_page_says_so_once_and_how_to_go_on(away, texts):
    assert texts(away).count("Supabase did not answer") == 1
    assert [b.label for b in away.button if b.key.startswith("fc-again")] == ["Try again"]


def test_once_it_is_back_one_click_saves_what_was_typed(away, library, texts):
    away.run()
    assert "Not saved yet: “Ada” for Unnamed" in texts(away)
    assert "did not answer" not in texts(away)
    assert library.view().people()[0].name == ""
    away.button(key="fc-unsaved-save").click().run()
    assert library.view().people()[0].name == "Ada"
    assert "Not saved yet" not in texts(away)


def test_what_is_dropped_is_written_nowhere(away, library, texts):
    away.run()
    away.button(key="fc-unsaved-drop").click().run()
    assert "Not saved yet" not in texts(away)
    assert not any(card.name for card in library.view().people())


def test_a_name_that_somebody_else_gave_meanwhile_is_not_overwritten_by_the_late_one(away, library, texts):
    library.rename(library.view().people()[0].id, "Bert")
    away.run()
    away.button(key="fc-unsaved-save").click().run()
    assert library.view().people()[0].name == "Bert"
    assert "Meanwhile" in texts(away)


def test_a_second_name_that_is_typed_meanwhile_leaves_the_first_one_waiting(away, rest, library, texts):
    first, second = (card.id for card in library.view().people()[:2])
    away.run()
    rest.faults.add("/rest/v1/", Fault.status(503), times=1_000_000)
    away.text_input(key=f"name-{second}-").set_value("Bert").run()
    rest.faults.clear()
    away.run()
    assert "Not saved yet: “Ada” for Unnamed, “Bert” for Unnamed" in texts(away)
    assert not any(card.name for card in library.view().people())
    away.button(key="fc-unsaved-save").click().run()
    assert [library.view().person(one).name for one in (first, second)] == ["Ada", "Bert"]
    assert "Not saved yet" not in texts(away)


@pytest.mark.parametrize("button", ["same-both", "same-merge"])
def test_a_name_that_two_have_still_waits_where_the_answer_could_not_be_saved(app, rest, library, texts, button):
    first, second = (card.id for card in library.view().people()[:2])
    library.rename(first, "Ada")
    test = app("people")
    test.text_input(key=f"name-{second}-").set_value("Ada").run()
    rest.faults.add("/rest/v1/", Fault.status(503), times=1_000_000)
    next(b for b in test.button if b.key.startswith(button)).click().run()
    rest.faults.clear()
    test.run()
    assert "Not saved yet: “Ada” for Unnamed" in texts(test)
