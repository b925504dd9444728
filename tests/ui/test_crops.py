"""The route of the crops: what a signed address opens, and that nothing else opens anything."""

from __future__ import annotations

import asyncio
import gc
import io

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from facecluster.config import load_settings
from facecluster.ui import crops
from facecluster.wiring import open_service


def picture(colour: str, side: int = 120) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def library(make_batch):
    """Three faces: a red one, a blue one, and one without a picture."""
    service = open_service(load_settings())
    service._faces.add(make_batch(["blue", "none", "red"], crops=[picture("blue"), b"", picture("red")]))
    return service


def get(*addresses: str) -> list[httpx.Response]:
    async def ask():
        app = httpx.ASGITransport(Starlette(routes=crops.ROUTES))
        async with httpx.AsyncClient(transport=app, base_url="http://here") as client:
            return [await client.get(address) for address in addresses]

    return asyncio.run(ask())


def address_of(service, face: str, size: int = 176) -> str:
    view = service.view()
    return crops.address(crops.base_of(service, view.faces), crops.name_of(view, face, []), size)


def shown(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(answer.content))


def test_a_signed_address_shows_its_face_in_the_size_asked_for(library):
    red, small = get(address_of(library, "red"), address_of(library, "blue", 96))
    assert red.headers["Content-Type"] == "image/jpeg"
    assert shown(red).size == (176, 176)
    assert shown(red).getpixel((88, 88))[0] > 200
    assert shown(small).size == (96, 96)
    assert shown(small).getpixel((48, 48))[2] > 200


def test_a_face_without_a_picture_is_a_drawn_head(library):
    assert crops.name_of(library.view(), "none", []) == ""
    (answer,) = get(address_of(library, "none"))
    assert answer.status_code == 200
    assert shown(answer).size == (176, 176)


def test_the_browser_may_keep_a_picture_and_nobody_in_between(library):
    (answer,) = get(address_of(library, "red"))
    said = answer.headers["Cache-Control"]
    assert said.startswith("private, max-age=")
    assert said.endswith("immutable")
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_nothing_that_was_not_signed_here_is_answered(library):
    address = address_of(library, "red")
    _, _, token, name = address.split("/")
    scope, period, signature = token.split("-")
    wrong = [
        f"/crops/{scope}-{period}-{signature[:-1]}{'0' if signature[-1] != '0' else '1'}/{name}",
        f"/crops/{scope}-{int(period, 16) + 9:x}-{signature}/{name}",
        f"/crops/{'0' * len(scope)}-{period}-{signature}/{name}",
        f"/crops/{signature}/{name}",
        f"/crops/-/{name}",
        f"/crops/{token}/{'0' * 16}.jpg?s=176",
        f"/crops/{token}/..%2F..%2Fpasswd.jpg?s=176",
        f"/crops/ü-1-ü/{name}",
        address.replace("s=176", "s=177"),
        address.partition("?")[0],
    ]
    assert {answer.status_code for answer in get(*wrong)} == {404}
    assert {answer.headers.get("Cache-Control") for answer in get(*wrong[:4])} == {"no-store"}


def test_an_address_ends_with_its_time(library, monkeypatch):
    address = address_of(library, "red")
    now = crops.time.time()
    monkeypatch.setattr(crops.time, "time", lambda: now + crops.PERIOD_S)
    assert get(address)[0].status_code == 200
    monkeypatch.setattr(crops.time, "time", lambda: now + 2 * crops.PERIOD_S)
    assert get(address)[0].status_code == 404


def test_an_address_of_one_user_opens_no_picture_of_another(library, make_batch):
    other = open_service(load_settings(), "somebody else")
    other._faces.add(make_batch(["green"], crops=[picture("green")]))
    mine, theirs = address_of(library, "red"), address_of(other, "green")
    crossed = mine.rpartition("/")[0] + "/" + theirs.rpartition("/")[2]
    assert [answer.status_code for answer in get(mine, theirs, crossed)] == [200, 200, 404]


def test_a_face_that_was_erased_is_not_shown_any_more(library):
    address = address_of(library, "red")
    assert get(address)[0].status_code == 200
    library._faces.remove(["red"])
    assert get(address)[0].status_code == 404


def test_a_library_that_nobody_holds_any_more_is_let_go(make_batch):
    service = open_service(load_settings())
    service._faces.add(make_batch(["red"], crops=[picture("red")]))
    address = address_of(service, "red")
    del service
    gc.collect()
    assert get(address)[0].status_code == 404


def test_a_picture_at_an_allowed_host_is_asked_of_that_host(make_batch):
    service = open_service(load_settings())
    service._faces.add(make_batch(["far"], crop_urls=["https://photos.example/far.jpg"]))
    view = service.view()
    assert crops.name_of(view, "far", []) == ""
    name = crops.name_of(view, "far", ["photos.example"])
    assert crops.address("/crops/x/", name) == "https://photos.example/far.jpg"


def test_kept_pictures_never_take_more_room_than_they_may():
    kept = crops._Kept(most_bytes=4000)
    colours = ["red", "green", "blue", "yellow", "black", "white", "pink", "brown"]
    first = kept.get(picture("red"), 96)
    for colour in colours:
        kept.get(picture(colour), 96)
        assert kept._size == sum(map(len, kept._kept.values())) <= 4000
    assert kept.get(picture("red"), 96) == first
