"""Tune and History in a real browser: a line opens its faces, a cell moves the sliders, two runs stand side by side."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from driving import Dashboard, serving

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

HERE = ".cell.here"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, demo_folder) -> Iterator[Dashboard]:
    """One server for both tests: they write to the demo library what the other can bear."""
    library = tmp_path_factory.mktemp("tune") / "library"
    shutil.copytree(demo_folder, f"{library}-demo")
    with serving(library) as running:
        yield running


def size_slider(page):
    return page.get_by_role("slider", name=re.compile("needs at least"))


def opened(page, dashboard):
    page.goto(f"{dashboard.url}/tune")
    expect(size_slider(page)).to_be_visible()


def test_a_line_opens_its_faces_and_a_cell_of_the_map_moves_the_sliders(page, dashboard):
    opened(page, dashboard)
    size_slider(page).press("ArrowRight")
    page.get_by_role("slider", name=re.compile("Neighbours")).press("ArrowLeft")
    line = page.locator(".line").first
    expect(line).to_be_visible()
    line.focus()
    line.press("ArrowDown")
    page.keyboard.press("Enter")
    tiles = page.locator(".tile")
    expect(tiles.first).to_be_visible()
    expect(tiles.first.locator("img")).to_be_visible()
    tiles.first.locator(".crop").click(position={"x": 60, "y": 60})
    expect(page.get_by_role("dialog").get_by_text("Blur score")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="All changes").click()
    expect(line).to_be_visible()

    expect(page.locator(HERE)).to_have_count(1)
    page.evaluate("document.querySelector('.st-key-tune-steady').isKept = true")
    before = page.locator(HERE).get_attribute("data-at")
    page.locator('[data-at="4 0"]').click()
    expect(size_slider(page)).to_have_value("6")
    expect(page.locator(HERE)).to_have_attribute("data-at", "4 0")
    assert before != "4 0"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(size_slider(page)).to_have_value("4")
    expect(page.locator(HERE)).to_be_focused()
    page.get_by_role("radio", name=re.compile("^5 neighbours")).click()
    expect(page.get_by_role("slider", name=re.compile("Neighbours"))).to_have_value("4")  # the fifth of 1 to 5
    assert page.evaluate("document.querySelector('.st-key-tune-steady').isKept"), "the map was put together anew"


def test_two_runs_stand_side_by_side_and_show_whose_faces_differ(page, dashboard):
    opened(page, dashboard)  # the demo is ready by then
    demo = {"FACECLUSTER_LIBRARY": f"{dashboard.library}-demo", "FACECLUSTER_USER": "demo"}
    command = [sys.executable, "-m", "facecluster", "recluster", "--min-cluster-size", "12", "--publish", "--json"]
    subprocess.run(command, env={**os.environ, **demo}, capture_output=True, check=True)
    page.goto(f"{dashboard.url}/history")
    page.get_by_role("tab", name="Published runs").click()
    page.get_by_role("button", name="Compare").first.click()
    expect(page.get_by_text(re.compile(r"% of the faces are with the same person in both"))).to_be_visible()
    expect(page.get_by_text("12 faces", exact=True)).to_be_visible()
    page.locator(".line").first.click()
    expect(page.locator(".tile").first.locator("img")).to_be_visible()
    page.get_by_role("button", name="All changes").click()
    page.get_by_role("button", name="All runs").click()
    expect(page.get_by_role("button", name="Compare").first).to_be_visible()
    page.get_by_role("tab", name="Changes").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=re.compile("Save all .* as CSV")).click()
    lines = saved.value.path().read_text("utf-8").splitlines()
    assert lines[0] == "revision,at,author,title,undoes,erased,kind,subject,object,before,value"
    assert "Published" in lines[1]
