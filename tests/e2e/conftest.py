"""A fresh dashboard on a fresh library, driven by real Chromium; skipped with a reason where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Software WebGL: the map draws without a graphics card. The rest keeps Chromium from talking to anybody.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Dashboard:
    """A running server and where its library lies."""

    url: str
    library: Path
    process: subprocess.Popen[bytes]
    log: Path
    requested: set[str] = field(default_factory=set)


def start(library: Path, settings: Mapping[str, str] | None = None, port: int = 0) -> Dashboard:
    """Start a server of its own, with nothing set but `settings`, and wait until it answers; 0 is any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    library.parent.mkdir(parents=True, exist_ok=True)
    log = library.with_name(f"{library.name}.log")
    settable = ("FACECLUSTER_", "CLUSTER", "PINECONE_", "SUPABASE_", "IDX_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(settable)}
    environment |= {"FACECLUSTER_LIBRARY": str(library), **(settings or {})}
    options = ["--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    url = f"http://localhost:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()  # noqa: S310  (localhost)
            return Dashboard(url, library, process, log)
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(log.read_text())


def stop(dashboard: Dashboard) -> None:
    dashboard.process.terminate()
    dashboard.process.wait(20)


@pytest.fixture
def settings() -> dict[str, str]:
    """Settings of the dashboard; a module may have its own."""
    return {}


@pytest.fixture
def dashboard(tmp_path: Path, settings: dict[str, str]) -> Iterator[Dashboard]:
    running = start(tmp_path / "library", settings)
    yield running
    stop(running)
    assert "Traceback" not in running.log.read_text()


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
        running = p.chromium.launch(executable_path=found, args=FLAGS)
        yield running
        running.close()


def _is_ours(message) -> bool:
    """An error of the page. On a deep link Streamlit itself asks for its own addresses below the page's first."""
    return message.type == "error" and "/_stcore/" not in message.location.get("url", "")


@pytest.fixture
def page(browser, dashboard):
    """A tab that fails its test on any console error and on any request that leaves this machine."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console",
        lambda message: errors.append(f"{message.text} {message.location.get('url')}") if _is_ours(message) else None,
    )
    tab.on("request", lambda request: dashboard.requested.add(request.url))
    tab.set_default_timeout(30_000)
    yield tab
    context.close()
    assert not errors, errors
    strangers = {
        url for url in dashboard.requested if not url.startswith((dashboard.url, "data:", "blob:", "ws://localhost"))
    }
    assert not strangers, strangers
