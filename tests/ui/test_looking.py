"""A page shows one moment, asks for it once, and says so where a store does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from facecluster.config import load_settings
from facecluster.errors import StoreUnavailableError
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore
from facecluster.ui import session, tuning
from facecluster.wiring import open_service

TUNE = Path(__file__).resolve().parents[2] / "pages" / "tune.py"
PAGES = ["people", "map", "find", "tune", "noise", "history", "status", "person"]


@pytest.fixture
def looks(monkeypatch):
    """How often the stores were asked whether anything has changed."""
    asked = {"version": 0, "revision": 0, "read": 0}

    def counted(cls, name):
        real = getattr(cls, name)

        def ask(self, *args, **kwargs):
            asked[name] += 1
            return real(self, *args, **kwargs)

        monkeypatch.setattr(cls, name, ask)

    counted(LocalFaceStore, "version")
    counted(LocalPeopleStore, "revision")
    counted(LocalPeopleStore, "read")
    return asked


@pytest.fixture
def own(demo_library, monkeypatch):
    """The faces of the demo as somebody's own library, so that no other one is looked at."""
    monkeypatch.setenv("FACECLUSTER_LIBRARY", str(demo_library.settings.library))
    monkeypatch.setenv("FACECLUSTER_USER", "demo")
    library = open_service(load_settings())
    library.rename(library.view().people()[0].id, "Anna")
    library.prepare(library.defaults.blur_threshold)
    library.map()
    return library


@pytest.mark.parametrize("page", PAGES)
def test_one_run_of_a_page_asks_once_whether_anything_has_changed(app, own, looks, page):
    test = app(page, **({"id": own.view().people()[0].id} if page == "person" else {}))
    test.session_state["fc_library"] = "own"
    test.run()
    looks.update(version=0, revision=0, read=0)
    test.run()
    assert not test.exception
    assert looks == {"version": 1, "revision": 1, "read": 0}


def test_what_tune_draws_anew_at_each_move_of_a_slider_asks_once_of_its_own(own, looks, monkeypatch):
    real, asked = tuning.bench, []

    def bench(params):
        before = looks["revision"]
        for _ in range(10):
            session.view()
        asked.append(looks["revision"] - before)
        return real(params)

    monkeypatch.setattr(tuning, "bench", bench)
    # Without the shell around it, as when a browser asks for this part of the page alone, which AppTest never does.
    test = AppTest.from_string(f"import runpy; runpy.run_path({str(TUNE)!r})")
    test.session_state["fc_library"] = "own"
    test.run(timeout=60)
    assert not [problem.value for problem in test.exception if "page_link" not in problem.value]
    assert asked == [0]


def test_a_dialog_that_draws_itself_asks_once(own, looks):
    def script():
        from facecluster.ui import session, widgets

        @widgets.dialog("A dialog", session.dismiss_news)
        def show():
            for _ in range(10):
                session.view()

        show()

    test = AppTest.from_function(script)
    test.session_state["fc_library"] = "own"
    looks.update(version=0, revision=0, read=0)
    test.run()
    assert not test.exception
    assert looks["revision"] == 1


def test_what_a_button_did_is_on_the_page_that_it_leads_to(app, own):
    person = own.view().people()[0].id
    test = app("person", id=person)
    assert "confirm-all" in [b.key for b in test.button]
    test.button(key="confirm-all").click().run()
    assert "confirm-all" not in [b.key for b in test.button]


@pytest.mark.parametrize("page", PAGES)
def test_a_store_that_does_not_answer_is_a_sentence_and_a_way_to_try_again(app, own, monkeypatch, page, texts):
    test = app(page)
    with monkeypatch.context() as broken:

        def refuse(self):
            raise StoreUnavailableError("Supabase did not answer for 10 seconds. Nothing was changed. Try again.")

        broken.setattr(LocalPeopleStore, "revision", refuse)
        test.run()
        assert not test.exception
        assert "Supabase did not answer" in texts(test)
        again = [b for b in test.button if b.label == "Try again"]
        assert len(again) == 1
    again[0].click().run()
    assert not test.exception
    assert "Supabase did not answer" not in texts(test)
    assert test.title


@pytest.mark.parametrize("page", ["people", "person", "tune", "noise", "history"])
def test_no_button_of_a_page_ends_in_a_traceback_while_the_store_is_away(app, own, monkeypatch, page, texts):
    def refuse(self):
        raise StoreUnavailableError("Supabase did not answer for 10 seconds. Nothing was changed. Try again.")

    query = {"id": own.view().people()[0].id} if page == "person" else {}
    for key in [b.key for b in app(page, **query).button if not b.disabled][:12]:
        test = app(page, **query)
        with monkeypatch.context() as broken:
            broken.setattr(LocalPeopleStore, "revision", refuse)
            test.button(key=key).click().run()
            assert not test.exception, key
            assert "Supabase did not answer" in texts(test), key


def test_a_name_typed_while_the_store_is_away_is_a_sentence(app, own, monkeypatch, texts):
    test = app("people")
    field = next(f for f in test.text_input if str(f.key).startswith("name-"))

    def refuse(self):
        raise StoreUnavailableError("Supabase did not answer for 10 seconds. Nothing was changed. Try again.")

    with monkeypatch.context() as broken:
        broken.setattr(LocalPeopleStore, "revision", refuse)
        field.set_value("Grace").run()
        assert not test.exception
        assert "Supabase did not answer" in texts(test)
    assert "Grace" not in [card.name for card in own.view().cards]
