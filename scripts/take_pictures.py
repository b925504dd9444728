"""Pictures of the dashboard on the demo library: `python scripts/take_pictures.py [--all FOLDER]`.

Without arguments the README's pictures in docs/pictures are made anew; with --all, every page at 1400, 900 and 390
pixels, light and dark, in FOLDER, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]

from conftest import FLAGS, Dashboard, start, stop  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from facecluster.config import load_settings  # noqa: E402
from facecluster.wiring import demo_settings, open_service  # noqa: E402

NAMES = ["Anna", "Ines", "Mei", "Priya", "Samir", "Emre", "Hugo", "Viktor", "Oskar", "Bob", "Lotte", "Ruth", "Amara"]
PAGES = ["people", "map", "find", "review", "tune", "noise", "history", "status"]
WIDTHS = {1400: 900, 900: 1000, 390: 844}
README = {
    "people": ("people", "light"),
    "people-dark": ("people", "dark"),
    "map": ("map", "light"),
    "tune": ("tune", "light"),
    "review": ("review", "light"),
}
SETTLED_MS = 1500
SETTLED = """() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget]')
  && [...document.images].every(image => image.complete || image.loading === "lazy")"""


def furnish(library: Path) -> str:
    """Make the demo library, name some people; returns one person's id."""
    service = open_service(demo_settings(load_settings(library=library)))
    service.open_demo()
    service.prepare(service.defaults.blur_threshold)
    service.map()
    cards = service.view().people()
    for card, name in zip(cards, NAMES, strict=False):
        service.rename(card.id, name, confirm=name in NAMES[:3])
    return cards[1].id


def settle(page: Any) -> None:
    """Wait until nothing is on its way (no run, no grey stand-in, no half picture), and then for what fades in."""
    page.wait_for_timeout(SETTLED_MS)
    page.wait_for_function(SETTLED, timeout=60_000)
    page.wait_for_timeout(SETTLED_MS)


def shoot(browser: Any, dashboard: Dashboard, path: str, out: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{dashboard.url}/{'' if path == PAGES[0] else path}")  # the first page has no address of its own
    page.locator("h1, [data-testid=stImage]").first.wait_for(timeout=60_000)
    settle(page)
    if path == "tune":  # a plan to look at
        for _ in range(4):
            page.get_by_role("slider", name=re.compile("needs at least")).press("ArrowRight")
        settle(page)
    page.screenshot(path=out)
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, width and mode, into FOLDER")
    folder = parser.parse_args().all
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        library = Path(name) / "library"
        person = furnish(library)
        dashboard = start(library)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            if folder is None:
                (ROOT / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
                for picture, (page, scheme) in README.items():
                    shoot(browser, dashboard, page, ROOT / "docs" / "pictures" / f"{picture}.png", 1400, scheme)
                return
            folder.mkdir(parents=True, exist_ok=True)
            for page in [*PAGES, f"person?id={person}"]:
                for width in WIDTHS:
                    for scheme in ("light", "dark"):
                        out = folder / f"{page.split('?')[0]}-{width}-{scheme}.png"
                        shoot(browser, dashboard, page, out, width, scheme)
        finally:
            browser.close()
            stop(dashboard)


if __name__ == "__main__":
    main()
