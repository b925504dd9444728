"""The Tune page in a real browser, at 5,000 people and 100,000 faces: `python -m benchmarks.screens_tune [--faces N]`.

From a key on a slider until nothing on the page changes any more: gauges, lines of the plan with their pictures, and
the map of settings. A slider commits a key as it commits the release of the mouse. The library is that of `screens`,
with its hierarchies prepared; vectors are made up, so the plan has some two thousand lines.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import screens
from benchmarks.report import Row, measure
from facecluster.config import load_settings
from facecluster.wiring import open_service

MOST = 0.8
STRICT, SIZE, SAMPLES = ".st-key-fc-strict", "[class*=st-key-tune-size]", "[class*=st-key-tune-samples]"
# Slider, key: to settings nobody was at, and back. What a slider moved to first is made then and kept.
MOVES = [(STRICT, "ArrowRight"), (SIZE, "ArrowRight"), (STRICT, "ArrowRight"), (SIZE, "ArrowRight"),
         (SAMPLES, "ArrowLeft"), (STRICT, "PageUp"), (SIZE, "ArrowRight")]  # fmt: skip
# On from there, a step at a time, each after a look at what the one before came to: the next steps are made meanwhile.
LOOK_MS = 6000
ONWARDS = [(SIZE, "ArrowRight"), (SAMPLES, "ArrowRight"), (STRICT, "ArrowRight"), (SIZE, "ArrowRight"),
           (SAMPLES, "ArrowRight"), (STRICT, "ArrowRight"), (SIZE, "ArrowRight")]  # fmt: skip
BACK = [(slider, {"ArrowRight": "ArrowLeft", "ArrowLeft": "ArrowRight", "PageUp": "PageDown"}[key])
        for slider, key in reversed(MOVES)]  # fmt: skip
# Seconds from the next key until the last change of text, picture or drawing, known when the run is over and 700 ms
# were quiet. Not counted: the toolbar, which tells of the run itself, and the thumb of the slider, which glides.
WATCH = """
() => { window.settled = new Promise((done) => addEventListener("keydown", () => {
  const began = performance.now(), watched = new WeakSet();
  let last = began, what = "nothing";
  const isOurs = (node) => !(node.nodeType === 1 ? node : node.parentElement)?.closest?.(
    "[data-testid=stToolbar], [data-testid=stStatusWidget], [data-testid=stHeader], [data-testid=stSlider]");
  const saw = (name) => { last = performance.now(); what = name; };
  const follow = (root) => {
    if (watched.has(root)) return;
    watched.add(root);
    root.addEventListener("load", () => saw("picture"), { capture: true });
    observer.observe(root, {
      subtree: true, childList: true, characterData: true, attributeFilter: ["src", "d", "fill", "aria-label"],
    });
    watch(root);
  };
  const watch = (root) => {
    for (const node of [root, ...(root.querySelectorAll?.("*") ?? [])]) if (node.shadowRoot) follow(node.shadowRoot);
  };
  const observer = new MutationObserver((found) => {
    for (const one of found) {
      for (const node of one.addedNodes) watch(node);
      if (isOurs(one.target)) saw(`${one.type} ${one.target.nodeName} ${one.target.className ?? ""}`);
    }
  });
  follow(document);
  const app = document.querySelector("[data-testid=stApp]");
  let hasRun = false;
  const look = () => {
    const state = app.getAttribute("data-test-script-state"), now = performance.now();
    hasRun ||= state === "running";
    if ((!hasRun || state === "running" || now - last < 700) && now - began < 30000) return setTimeout(look, 10);
    observer.disconnect();
    done([(last - began) / 1000, what]);
  };
  look();
}, { once: true, capture: true })); }
"""


def moved(page: Any, slider: str, key: str) -> tuple[float, str]:
    """Seconds until all is settled, and what came last."""
    page.locator(f"{slider} :is([role=slider], input[type=range])").first.focus()
    page.wait_for_timeout(300)
    page.evaluate(WATCH)
    page.keyboard.press(key)
    seconds, what = page.evaluate("window.settled")
    return float(seconds), str(what)


def tune(browser: Any, url: str) -> Iterator[Row]:
    """The Tune page: sliders moved to where nobody was, back, and on at a curator's pace."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    wire = screens.Wire(page)
    page.goto(f"{url}/tune")
    page.locator(".st-key-tune-publish button").wait_for(timeout=180_000)
    page.wait_for_timeout(5000)
    moved(page, STRICT, "ArrowLeft")  # what is loaded once for all moves
    parts = (
        ("to settings not seen before, at once", MOVES, 0),
        ("back", BACK, 0),
        (f"to settings not seen before, after {LOOK_MS / 1000:g} s of looking", ONWARDS, LOOK_MS),
    )
    for about, moves, look_ms in parts:
        found, weights = [], []
        for slider, key in moves:
            page.wait_for_timeout(look_ms)
            before = wire.n_bytes
            seconds, _ = moved(page, slider, key)
            found.append(seconds)
            weights.append(wire.n_bytes - before)
        row = f"Tune, slider released to all settled, {about} (median of {len(moves)})"
        yield screens.goal(row, statistics.median(found), "s", MOST)
        yield Row("  the slowest", max(found), "s")
        yield Row("  over the websocket (median)", statistics.median(weights) / 1000, "kB")


def rows(n: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        screens.make(library, n)
        service = open_service(load_settings(library=library))
        service.prepare(service.defaults.blur_threshold)
        with screens.browsing(library) as (browser, url):
            yield from tune(browser, url)


if __name__ == "__main__":
    measure(__doc__, rows)
