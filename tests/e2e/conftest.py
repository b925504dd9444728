"""A fresh dashboard on a library of its own, driven by real Chromium; skipped with a reason where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import FLAGS, PATIENCE_MS, Dashboard, serving, tab

from facecluster.config import load_settings
from facecluster.service import Service
from facecluster.wiring import demo_settings, open_service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A second try on a busy machine. The summary names it: each is a defect of test or page to look into."""
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def settings() -> dict[str, str]:
    """Settings of the dashboard; a module may have its own."""
    return {}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo library with its hierarchies and its map, made once."""
    demo = demo_settings(load_settings(library=tmp_path_factory.mktemp("made") / "library"))
    service = open_service(demo)
    service.open_demo()
    service.prepare(service.defaults.blur_threshold)
    service.map()
    return demo.library


@pytest.fixture
def library(tmp_path: Path, demo_folder: Path) -> Path:
    """An empty library of the user's own with a ready demo beside it; a module may have its own."""
    shutil.copytree(demo_folder, tmp_path / "library-demo")
    return tmp_path / "library"


@pytest.fixture
def demo(library: Path) -> Service:
    """The demo that the dashboard shows, to be prepared for a test and looked at afterwards."""
    return open_service(demo_settings(load_settings(library=library)))


@pytest.fixture
def dashboard(library: Path, settings: dict[str, str]) -> Iterator[Dashboard]:
    with serving(library, settings) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Ended with its module: while Playwright lives, its event loop stands in the way of everybody else's."""
    executable = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        found = executable or p.chromium.executable_path
        if not found or not Path(found).exists():
            pytest.skip("no Chromium on this machine: scripts/test says how to get one")
        playwright.expect.set_options(timeout=PATIENCE_MS)
        running = p.chromium.launch(executable_path=found, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser, dashboard, settings):
    allowed = [host for host in settings.get("FACECLUSTER_IMAGE_HOSTS", "").split(",") if host]
    with tab(browser, dashboard, allowed) as opened:
        yield opened
