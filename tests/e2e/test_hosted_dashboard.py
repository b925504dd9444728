"""Faces in a Pinecone index and people in a Supabase project, in a real browser: the first quarter of an hour."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from driving import other_hosts
from servers.pinecone_server import PineconeServer
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer

from facecluster.demo import demo_faces

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

TILE = ".tile"
PICTURES = "pictures.test"  # allowed; every seventh face names a picture there, and the next one on a host that is not
N_FACES = 400


@pytest.fixture(scope="module")
def faces():
    return demo_faces()


@pytest.fixture
def index(faces):
    with PineconeServer(api_key="key-of-anna") as server:
        server.put(
            faces.ids[:N_FACES], faces.vectors[:N_FACES], [metadata(faces, row) for row in range(N_FACES)], namespace=""
        )
        yield server


@pytest.fixture
def rest():
    with RestServer(shared_postgres().database()) as server:
        yield server


@pytest.fixture
def settings(index, rest):
    """What leads the dashboard to both."""
    return {
        "PINECONE_API_KEY": index.api_key,
        "PINECONE_HOST": index.url,
        "SUPABASE_URL": rest.url,
        "SUPABASE_SERVICE_KEY": rest.service_key,
        "FACECLUSTER_USER": "anna",
        "FACECLUSTER_IMAGE_HOSTS": PICTURES,
    }


@pytest.fixture
def library(tmp_path):
    """No demo beside it: nothing here is to be shown from one."""
    return tmp_path / "library"


def metadata(faces, row: int) -> dict[str, object]:
    said = {"photo": faces.photo[row], "folder": faces.folder[row], "blur_score": float(faces.blur_score[row])}
    crop = b64encode(faces.crops[row]).decode()
    if row % 7 < 2 or len(crop) > 39_000:
        crop = f"https://{'elsewhere.test' if row % 7 == 1 else PICTURES}/{row}.jpg"
    return said | {"face_crop": crop}


def name_first(page, name: str) -> None:
    page.locator(TILE).first.locator(".name").click()
    field = page.locator(".editor input")
    field.fill(name)
    field.press("Enter")


def test_a_curator_reads_publishes_names_and_erases_on_the_hosted_pair(page, dashboard, index, faces):
    asked = other_hosts(page, faces.crops[0])
    page.goto(dashboard.url)
    expect(page.get_by_text("Reading your faces from Pinecone, once")).to_be_visible()
    page.get_by_role("link", name="Find people on Tune").click()
    page.get_by_role("button", name=re.compile(r"^Publish \d")).click()
    expect(page.get_by_text(re.compile("^Published"))).to_be_visible()
    page.get_by_role("link", name="People", exact=True).click()
    expect(page.locator(TILE).first).to_be_visible()

    name_first(page, "Grace Hopper")
    expect(page.get_by_text("Named somebody “Grace Hopper”")).to_be_visible()
    page.reload()
    expect(page.get_by_role("option", name=re.compile("^Grace Hopper, "))).to_be_visible()

    page.get_by_role("option", name=re.compile("^Grace Hopper, ")).locator(".crop").click()
    page.get_by_role("button", name="Erase this person…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("on this machine and in Pinecone")).to_be_visible()
    dialog.get_by_label(re.compile("to go on$")).fill("Grace Hopper")
    dialog.get_by_role("button", name=re.compile(r"^Erase Grace Hopper and \d+ faces$")).click()
    expect(page.get_by_role("heading", name="People", exact=True)).to_be_visible()
    expect(page.locator(TILE).first).to_be_visible()
    expect(page.get_by_role("option", name=re.compile("^Grace Hopper, "))).to_have_count(0)
    n_left = len(index.sorted_ids(""))
    assert n_left < N_FACES
    expect(page.get_by_text(f"{n_left} faces", exact=True)).to_be_visible()

    assert {host for host, _ in asked} == {PICTURES}
    assert not [referer for _, referer in asked if referer]
