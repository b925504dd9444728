"""A demo library and an empty one for the pages, and a page as a curator would open it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from facecluster.config import load_settings
from facecluster.service import Service
from facecluster.wiring import demo_settings, open_service

APP = Path(__file__).resolve().parents[2] / "app.py"


@pytest.fixture(scope="session")
def _demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = demo_settings(load_settings(library=tmp_path_factory.mktemp("demo") / "library"))
    open_service(settings).open_demo()
    return settings.library


@pytest.fixture(autouse=True)
def _pages_in_their_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server that app.py has told so: left to itself, AppTest runs the files of pages/ without the shell."""
    real = PagesManager.__init__

    def told(self: PagesManager, *args: object, **kwargs: object) -> None:
        PagesManager.uses_pages_directory = False
        real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(PagesManager, "__init__", told)


@pytest.fixture(autouse=True)
def _fresh_caches() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def demo_library(_demo_folder: Path) -> Service:
    """The demo, beside an empty library of the user's own: the dashboard shows it."""
    settings = demo_settings(load_settings())
    shutil.copytree(_demo_folder, settings.library)
    return open_service(settings)


@pytest.fixture
def empty_library() -> Service:
    """The user's own library, without a face; `app` shows it rather than the demo."""
    return open_service(load_settings())


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Callable[..., AppTest]:
    """Open a page: `app("person", id="p-1")`."""

    def open_page(page: str, **query: str) -> AppTest:
        test = AppTest.from_file(str(APP), default_timeout=60)
        if "empty_library" in request.fixturenames:
            test.session_state["fc_library"] = "own"
        test.run()
        test.switch_page(f"pages/{page}.py")
        for name, value in query.items():
            test.query_params[name] = value
        test.run()
        assert not test.exception
        return test

    return open_page


@pytest.fixture
def texts() -> Callable[[AppTest], str]:
    """Every sentence on a page."""
    return lambda test: "\n".join(e.value for e in [*test.title, *test.subheader, *test.text])
