"""What leaves this machine: nothing, but for pictures on the hosts that the settings allow."""

from __future__ import annotations

import io
import json

import pytest
import small_library
from driving import other_hosts
from PIL import Image

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

ALLOWED = "pictures.test"
HEADINGS = ("People", "Map", "Find", "Review", "Tune", "Noise", "History", "Status")


@pytest.fixture
def library(tmp_path):
    """Faces whose pictures lie on two hosts, none of them here."""
    columns, hosts = small_library.faces(), (ALLOWED, "elsewhere.test")
    rows = [
        {"id": face, "vector": vector.tolist(), "crop": f"https://{hosts[at % 2]}/{at}.jpg"}
        for at, (face, vector) in enumerate(zip(columns["ids"], columns["vectors"], strict=True))
    ]
    (tmp_path / "faces.jsonl").write_text("\n".join(map(json.dumps, rows)))
    service = small_library.open_library(tmp_path / "library")
    service.import_files([tmp_path / "faces.jsonl"])
    service.prepare(small_library.PARAMS.blur_threshold)
    service.publish(service.plan(small_library.PARAMS), author="setup")
    service.map()
    return tmp_path / "library"


@pytest.fixture(params=["", ALLOWED])
def settings(request):
    return {"FACECLUSTER_IMAGE_HOSTS": request.param}


def test_pictures_are_asked_of_the_allowed_host_alone_without_a_referer(page, dashboard, settings):
    drawn = io.BytesIO()
    Image.new("RGB", (120, 120), "#7a93ba").save(drawn, "JPEG")
    asked = other_hosts(page, drawn.getvalue())
    page.goto(dashboard.url)
    expect(page.locator(".tile").first).to_be_visible()
    page.locator(".tile .crop").first.click()
    page.wait_for_url("**/person?id=*")
    expect(page.locator(".tile").first).to_be_visible()
    for heading in HEADINGS:
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=heading).click()
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        expect(page.locator('[data-test-script-state="running"]')).to_have_count(0)
    allowed = {settings["FACECLUSTER_IMAGE_HOSTS"]} - {""}
    assert {host for host, _ in asked} == allowed
    assert not [referer for _, referer in asked if referer]
