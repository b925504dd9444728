"""Every page of the dashboard, and what a curator does there that shows more: for pictures and for accessibility."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facecluster.config import load_settings
from facecluster.wiring import demo_settings, open_service

NAMES = ("Anna", "Ines", "Mei", "Priya", "Samir", "Emre", "Hugo", "Viktor", "Oskar", "Bob", "Lotte", "Ruth", "Amara")
SETTLED_MS = 700
# No run, no grey stand-in, no half picture, also in a component; what fades in has faded in.
SETTLED = """() => {
  const pictures = (root) => [...root.querySelectorAll("*")].flatMap(
    one => one.shadowRoot ? pictures(one.shadowRoot) : one.localName === "img" ? [one] : []);
  return !document.querySelector('[data-testid=stSkeleton], [data-test-script-state=running]')
    && pictures(document).every(image => image.complete || image.loading === "lazy")
    && document.getAnimations().every(one => one.playState !== "running" || one.effect.getTiming().iterations > 1);
}"""


@dataclass(frozen=True)
class Scene:
    """A page in a state.

    Attributes
    ----------
    path : str
        Its address, with `{person}`, `{blended}`, `{face}` and `{noise}` for those of `furnish`.
    ready : str
        What is there once the page is.
    act : Callable
        What is done on the page before it is looked at.
    """

    path: str
    ready: str
    act: Callable[[Any], None] = lambda page: None


def furnish(library: Path) -> dict[str, str]:
    """Make the demo library and name some people; what stands in the addresses of scenes."""
    service = open_service(demo_settings(load_settings(library=library)))
    service.open_demo()
    service.prepare(service.defaults.blur_threshold)
    service.map()
    cards = service.view().people()
    for card, name in zip(cards, NAMES, strict=False):
        service.rename(card.id, name, confirm=name in NAMES[:3])
    blended = cards[30:33]
    service.merge(blended[0].id, [other.id for other in blended[1:]])
    view = service.view()
    return {
        "blended": blended[0].id,
        "person": cards[1].id,
        "face": view.faces_of(cards[1].id)[0].id,
        "noise": view.noise[0].face,
    }


def settle(page: Any) -> None:
    """Wait until nothing is on its way."""
    page.wait_for_timeout(SETTLED_MS)
    page.wait_for_function(SETTLED, timeout=60_000)
    page.wait_for_timeout(SETTLED_MS)


def open_scene(page: Any, url: str, scene: Scene, known: dict[str, str]) -> None:
    """Bring a tab there."""
    page.goto(f"{url}/{scene.path.format(**known)}")
    page.locator(scene.ready).first.wait_for(timeout=90_000)
    settle(page)
    scene.act(page)
    settle(page)


def _select(page: Any) -> None:
    page.locator(".tile").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.locator(".st-key-fc-bar").wait_for()


def _name(page: Any) -> None:
    page.locator(".tile").nth(14).locator(".name").click()
    page.keyboard.type("m")
    page.locator(".menu .option").first.wait_for()


def _move_sliders(page: Any) -> None:
    for _ in range(4):
        page.get_by_role("slider", name=re.compile("needs at least")).press("ArrowRight")


def _split(page: Any) -> None:
    page.get_by_role("button", name="Split…").click()
    page.get_by_role("dialog").wait_for()


def _select_in_view(page: Any) -> None:
    plot = page.locator(".fc-map-plot")
    for _ in range(3):
        plot.press("+")
    plot.press("Enter")
    page.locator(".st-key-fc-map-act h3").wait_for()


_GRID = ".tile"
_WHO = ".st-key-fc-who"
_MAP = ".fc-map-plot[data-drawn]"

SCENES = {
    "people": Scene("", _GRID),
    "people-selected": Scene("", _GRID, _select),
    "people-naming": Scene("", _GRID, _name),
    "person": Scene("person?id={person}", _WHO),
    "person-selected": Scene("person?id={person}", _WHO, _select),
    "person-why": Scene("person?id={person}&photo={face}&why=1", "[role=dialog]"),
    "person-split": Scene("person?id={blended}", _WHO, _split),
    "map": Scene("map", _MAP),
    "map-selected": Scene("map", _MAP, _select_in_view),
    "find": Scene("find", "h1"),
    "find-person": Scene("find?person={person}", _WHO),
    "find-face": Scene("find?face={noise}", _WHO),
    "review": Scene("review", "h1"),
    "tune": Scene("tune", ".st-key-fc-gauges"),
    "tune-plan": Scene("tune", ".st-key-fc-gauges", _move_sliders),
    "noise": Scene("noise", "h1"),
    "history": Scene("history", "h1"),
    "status": Scene("status", "h1"),
}
