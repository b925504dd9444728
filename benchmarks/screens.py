"""The dashboard in a real browser, at 5,000 people and 100,000 faces: `python -m benchmarks.screens [--faces N]`.

Server and headless Chromium share this machine. Each time runs from the click or key to the moment when what was asked
for is on the screen, taken within the page; the median of some. The library is made up: `synthetic_faces`, published
as their true people without a run of the clustering, each with one of the drawn pictures of the demo.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import ROOT, Row, measure
from facecluster.config import load_settings
from facecluster.demo import demo_faces, synthetic_faces
from facecluster.model import FaceBatch
from facecluster.reconcile import reconcile
from facecluster.wiring import open_service

sys.path.insert(0, str(ROOT / "tests" / "e2e"))

N_PEOPLE = 5_000
TIMES = 5

# Resolves with the milliseconds since `act` until `is_there()` holds, looked at once a frame.
MEASURE = """
async ([act, isThere]) => {
  const deep = (selector, root = document) => {
    const found = [...root.querySelectorAll(selector)];
    for (const one of root.querySelectorAll("*")) if (one.shadowRoot) found.push(...deep(selector, one.shadowRoot));
    return found;
  };
  const [start, done] = [new Function("deep", act), new Function("deep", isThere)];
  const began = performance.now();
  start(deep);
  while (!done(deep)) {
    if (performance.now() - began > 60000) throw new Error("waited for a minute: " + isThere);
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}
"""
# Every crop in sight has its picture.
CROPS = """
const tiles = deep(".tile").filter((tile) => {
  const box = tile.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
});
return tiles.length > 12 && tiles.every((tile) => tile.querySelector("img")?.complete);
"""
LINK = """
[...document.querySelectorAll("[data-testid=stSidebarNavLink]")].find((a) => a.textContent.includes("%s")).click();
"""
TITLE = "return [...document.querySelectorAll('h1')].some((h) => h.textContent === '%s');"
NODES = """
() => {
  const all = (root) => [...root.querySelectorAll("*")];
  const count = (root) => all(root).reduce((n, one) => n + 1 + (one.shadowRoot ? count(one.shadowRoot) : 0), 0);
  return count(document);
}
"""


def make(library: Path, n: int) -> None:
    """The library, with its people published."""
    made, drawn = synthetic_faces(n, seed=0, style="crowd"), demo_faces()
    rng = np.random.default_rng(0)
    crops = tuple(drawn.crops[i] for i in rng.integers(0, len(drawn.crops), n))
    unknown = np.full((n, 5), np.nan, np.float32)
    photos = tuple(f"photo-{photo}" for photo in made.photo)
    empty = ("",) * n
    service = open_service(load_settings(library=library))
    ids = tuple(f"face-{i:07}" for i in range(n))
    service._faces.add(FaceBatch(ids, made.vectors, photos, empty, empty, unknown[:, 0], unknown[:, 1:], crops, empty))
    largest = np.argsort(-np.bincount(made.person), kind="stable")[: N_PEOPLE * n // 100_000]
    number = np.full(made.person.max() + 1, -1, np.int32)
    number[largest] = np.arange(len(largest))
    label = number[made.person]
    strength = np.where(label >= 0, rng.uniform(0.4, 1.0, n), 0.0).astype(np.float32)
    view, defaults = service.view(), service.defaults
    params = {
        "min_samples": defaults.min_samples,
        "min_cluster_size": defaults.min_cluster_size,
        "epsilon": defaults.epsilon,
        "method": defaults.method,
        "blur_threshold": defaults.blur_threshold,
    }
    service.publish(reconcile(view.faces, label, strength, view.snapshot, view.state, params, "benchmark"))


class Wire:
    """Bytes that came over the websockets of a page."""

    def __init__(self, page: Any) -> None:
        self.n_bytes = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, frame: str | bytes) -> None:
        self.n_bytes += len(frame if isinstance(frame, bytes) else frame.encode())


@contextmanager
def browsing(library: Path) -> Iterator[tuple[Any, str]]:
    """A browser, and the address of a dashboard that shows the library."""
    from driving import FLAGS, start, stop
    from playwright.sync_api import sync_playwright

    dashboard = start(library)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser, dashboard.url
        finally:
            browser.close()
            stop(dashboard)


def measured(page: Any, act: str, is_there: str) -> float:
    """Seconds."""
    return page.evaluate(MEASURE, [act, is_there]) / 1000


def people(browser: Any, url: str) -> Iterator[Row]:
    """The People page: opened, a person named, what it weighs."""
    opened = []
    for _ in range(TIMES):  # a browser that has no crop yet, each time
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        wire = Wire(page)
        page.goto(f"{url}/history")
        page.get_by_role("heading", name="History").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        opened.append(measured(page, LINK % "People", CROPS))
        if len(opened) < TIMES:
            context.close()
    yield goal("People, click to all crops in sight (median)", statistics.median(opened), "s", 1.0)
    yield goal("nodes of the page on People", page.evaluate(NODES), "", 700)
    named, weights = [], []
    for i in range(TIMES):
        page.wait_for_timeout(1500)
        page.locator(".tile .name").nth(i).click()
        page.locator(".editor input").fill(f"Grace {i}")
        before = wire.n_bytes
        enter = (
            """deep(".editor input")[0].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));"""
        )
        said = f"""return document.body.innerText.includes("“Grace {i}”");"""
        named.append(measured(page, enter, said))
        page.wait_for_timeout(700)
        weights.append(wire.n_bytes - before)
    yield goal("rename, key to the store's answer on the screen (median)", statistics.median(named), "s", 0.3)
    yield goal("bytes over the websocket for a rename (median)", statistics.median(weights) / 1000, "kB", 10)
    context.close()


def goal(row: str, figure: float, unit: str, most: float) -> Row:
    """A row whose goal is a figure of at most `most`."""
    return Row(row, figure, unit, goal=f"at most {most:g} {unit}".strip(), met=figure <= most)


def rows(n: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        make(library, n)
        with browsing(library) as (browser, url):
            yield from people(browser, url)


if __name__ == "__main__":
    measure(__doc__, rows)
