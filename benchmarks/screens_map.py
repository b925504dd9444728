"""The Map page in a real browser, at 100,000 faces: `python -m benchmarks.screens_map [--faces N]`."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import screens
from benchmarks.report import Row, measure
from facecluster.config import load_settings
from facecluster.wiring import open_service

TIMES = 5
# Milliseconds from the release of the mouse until the card says who is in the shape, shows them and offers to act.
RELEASED = """
() => { window.released = new Promise((done) => addEventListener("mouseup", async () => {
  const began = performance.now();
  const isThere = () => {
    const card = document.querySelector(".st-key-fc-map-act"), pictures = card ? [...card.querySelectorAll("img")] : [];
    return pictures.length && pictures.every((one) => one.complete) && card.querySelector(".st-key-map-new button");
  };
  while (!isThere()) await new Promise(requestAnimationFrame);
  done(performance.now() - began);
}, { once: true, capture: true })); }
"""
POINT = """
() => {
  const plot = document.querySelector(".fc-map-plot"), { xaxis, yaxis } = plot._fullLayout, { x, y } = plot.data[1];
  const box = plot.getBoundingClientRect(), at = Math.floor(x.length / 3);
  return [box.left + xaxis.l2p(x[at]), box.top + yaxis.l2p(y[at])];
}
"""
IS_DRAWN = "return document.querySelector('.fc-map-plot')?.dataset.drawn;"


def place(library: Path) -> None:
    """Made-up places: people in round heaps, nobody's faces anywhere. A real map takes minutes."""
    service = open_service(load_settings(library=library))
    view = service.view()
    rows, fingerprint = service._hierarchies.require_base(view, view.live_blur_threshold)
    rng = np.random.default_rng(1)
    owner = view.state.owner[rows]
    centres = rng.uniform(-50, 50, (len(view.state.people), 2))
    heaps, anywhere = centres[owner] + rng.normal(0, 0.35, (len(rows), 2)), rng.uniform(-50, 50, (len(rows), 2))
    xy = np.where(owner[:, None] >= 0, heaps, anywhere)
    service._cache._save(service._cache._path(f"map-{fingerprint}"), {"xy": xy.astype(np.float32)})


def draw_around(page: Any, radius: float, n_corners: int = 14) -> float:
    """Seconds from the release of a lasso to its result."""
    page.evaluate(RELEASED)
    x, y = page.evaluate(POINT)
    turns = [2 * math.pi * i / n_corners for i in range(n_corners)]
    corners = [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner)
    page.mouse.up()
    return float(page.evaluate("window.released")) / 1000


def the_map(browser: Any, url: str) -> Iterator[Row]:
    """The Map page: opened, drawn on, acted on."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    wire = screens.Wire(page)
    page.goto(f"{url}/history")
    page.get_by_role("heading", name="History").wait_for(timeout=60_000)
    opened = []
    for _ in range(3):
        page.wait_for_timeout(1500)
        opened.append(screens.measured(page, screens.LINK % "Map", IS_DRAWN))
        page.wait_for_timeout(1500)
        screens.measured(page, screens.LINK % "History", screens.TITLE % "History")
    yield Row("Map, click to all points drawn (median)", statistics.median(opened), "s")
    screens.measured(page, screens.LINK % "Map", IS_DRAWN)
    for about, radius in (("a few dozen faces", 12), ("some thousand faces", 60)):
        found, weights = [], []
        for _ in range(TIMES):
            page.wait_for_timeout(1500)
            before = wire.n_bytes
            found.append(draw_around(page, radius))
            n = page.locator(".st-key-fc-map-act h3").inner_text()
            weights.append(wire.n_bytes - before)
            page.locator(".st-key-map-close button").click()
            page.locator(".st-key-fc-map-act").wait_for(state="detached")
        yield screens.goal(f"Map, lasso released to result, {about}: {n} (median)", statistics.median(found), "s", 0.5)
        yield Row("  over the websocket", statistics.median(weights) / 1000, "kB")


def rows(n: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        screens.make(library, n)
        place(library)
        with screens.browsing(library) as (browser, url):
            yield from the_map(browser, url)


if __name__ == "__main__":
    measure(__doc__, rows)
