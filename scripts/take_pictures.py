"""Pictures of the dashboard on the demo library: `python scripts/take_pictures.py [--all FOLDER [SCENE ...]]`.

Without arguments the README's pictures in docs/pictures are made anew; with --all, every scene of tests/e2e/scenes.py
(or those that are named), an empty library and the first visit, at 1400, 900 and 390 pixels, light and dark, in FOLDER,
to be looked at.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]

from driving import FLAGS, serving  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from scenes import SCENES, furnish, open_scene, settle  # noqa: E402

WIDTHS = {1400: 900, 900: 1000, 390: 844}
README = {
    "people": ("people", "light"),
    "people-dark": ("people", "dark"),
    "map": ("map", "light"),
    "tune": ("tune-plan", "light"),
    "review": ("review", "light"),
}
MENU = ("people", "map", "find", "review", "tune", "noise", "history")


@contextmanager
def tab(browser: Any, width: int, scheme: str = "light") -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    yield context.new_page()
    context.close()


def both_modes(page: Any, folder: Path, name: str, width: int) -> None:
    """One picture in light and one in dark, without a reload between them."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")


def every_scene(browser: Any, url: str, known: dict[str, str], folder: Path, wanted: list[str]) -> None:
    for name in wanted or SCENES:
        for width in WIDTHS:
            with tab(browser, width) as page:
                open_scene(page, url, SCENES[name], known)
                both_modes(page, folder, name, width)


def empty_library(browser: Any, url: str, folder: Path) -> None:
    """The user's own library, which holds nothing: each page leads on."""
    for width in WIDTHS:
        with tab(browser, width) as page:
            page.goto(f"{url}/status")
            page.get_by_role("button", name="Open your own library").click()
            page.get_by_role("button", name="Open the demo library").wait_for()
            for name in MENU if width == 1400 else MENU[:1]:
                if page.get_by_test_id("stExpandSidebarButton").is_visible():
                    page.get_by_test_id("stExpandSidebarButton").click()
                page.get_by_test_id("stSidebarNav").get_by_role("link", name=name.title()).click()
                settle(page)
                both_modes(page, folder, f"empty-{name}", width)


def first_visit(browser: Any, folder: Path) -> None:
    """What is seen while the demo is being made."""
    for width in WIDTHS:
        with (
            tempfile.TemporaryDirectory() as name,
            serving(Path(name) / "library") as dashboard,
            tab(browser, width) as page,
        ):
            page.goto(dashboard.url)
            page.get_by_role("progressbar").wait_for()
            page.screenshot(path=folder / f"first-visit-{width}-light.png")


def readme(browser: Any, url: str, known: dict[str, str]) -> None:
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for picture, (scene, scheme) in README.items():
        with tab(browser, 1400, scheme) as page:
            open_scene(page, url, SCENES[scene], known)
            page.screenshot(path=folder / f"{picture}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every scene, width and mode, into FOLDER")
    parser.add_argument("scenes", nargs="*", choices=[*SCENES, []], metavar="SCENE", help="these scenes alone")
    asked = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        library = Path(name) / "library"
        known = furnish(library)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with serving(library) as dashboard:
            if asked.all is None:
                readme(browser, dashboard.url, known)
            else:
                asked.all.mkdir(parents=True, exist_ok=True)
                every_scene(browser, dashboard.url, known, asked.all, asked.scenes)
                if not asked.scenes:
                    empty_library(browser, dashboard.url, asked.all)
        if asked.all is not None and not asked.scenes:
            first_visit(browser, asked.all)
        browser.close()


if __name__ == "__main__":
    main()
