"""A dashboard of its own for each test that needs one, and a tab of real Chromium that looks at it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

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

PATIENCE_MS = 60_000  # of a machine that does three other things as well


@dataclass
class Dashboard:
    """A running server and where its library lies."""

    url: str
    library: Path
    process: subprocess.Popen[bytes]
    log: Path
    requested: set[str] = field(default_factory=set)  # addresses, by all tabs


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
    for _ in range(600):
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


@contextmanager
def serving(library: Path, settings: Mapping[str, str] | None = None) -> Iterator[Dashboard]:
    """A dashboard that ends with the block, and whose log must hold no traceback."""
    running = start(library, settings)
    try:
        yield running
    finally:
        stop(running)
    assert "Traceback" not in running.log.read_text()


def _is_ours(message) -> bool:
    """An error of the page. On a deep link Streamlit itself asks for its own addresses below the page's first."""
    return message.type == "error" and "/_stcore/" not in message.location.get("url", "")


@contextmanager
def tab(browser, dashboard: Dashboard, allowed: Sequence[str] = (), **options):
    """A tab that fails its test on any console error and on any request to a host that is not allowed."""
    context = browser.new_context(**({"viewport": {"width": 1400, "height": 900}} | options))
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda message: errors.append(f"{message.text} {message.location.get('url')}") if _is_ours(message) else None,
    )
    opened.on("request", lambda request: dashboard.requested.add(request.url))
    opened.on("websocket", lambda socket: dashboard.requested.add(socket.url))
    opened.set_default_timeout(PATIENCE_MS)
    try:
        yield opened
    finally:
        context.close()
    assert not errors, errors
    own = (f"{dashboard.url}/", dashboard.url.replace("http", "ws", 1) + "/", "data:", "blob:")
    strangers = {
        url for url in dashboard.requested if not url.startswith(own) and urlsplit(url).hostname not in allowed
    }
    assert not strangers, strangers


def listening(page) -> None:
    """Wait until a page hears keys: Streamlit's buttons listen for their letters a moment after they are drawn."""
    page.wait_for_function("document.querySelector('[data-test-script-state]')?.dataset.testScriptState !== 'running'")
    frame = "new Promise(done => requestAnimationFrame(() => requestIdleCallback(done, { timeout: 1000 })))"
    for _ in range(3):
        page.evaluate(f"() => {frame}")


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what no page shows."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not is_so() and time.monotonic() < end:
        time.sleep(0.1)


def other_hosts(page, picture: bytes) -> list[tuple[str, str]]:
    """Answer with a picture what a page asks of other hosts; which they are, each with the Referer that it was told."""
    asked: list[tuple[str, str]] = []

    def answer(route) -> None:
        asked.append((urlsplit(route.request.url).hostname, route.request.all_headers().get("referer", "")))
        route.fulfill(body=picture, content_type="image/jpeg")

    page.route(re.compile(r"^https?://(?!localhost)"), answer)
    return asked
