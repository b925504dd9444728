"""Pictures of faces whose bytes are elsewhere: what the browser is told to load, and that the server opens nothing."""

from __future__ import annotations

import asyncio
import builtins
import io
import socket
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from facecluster.config import load_settings
from facecluster.ui.gate import GATE
from facecluster.ui.headers import MIDDLEWARE
from facecluster.wiring import open_service

PHOTO = "https://res.cloudinary.com/demo/image/upload/v17/{}.jpg"
HOSTILE = [
    "file:///etc/passwd",
    "/etc/passwd",
    "../../secrets.toml",
    ".streamlit/config.toml",
    "C:\\secrets.toml",
    "http://localhost:{port}/x.jpg",
    "http://127.0.0.1:{port}/x.jpg",
    "http://169.254.169.254/latest/meta-data",
    "https://localhost:{port}/x.jpg",
    "//localhost:{port}/x.jpg",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://res.cloudinary.com@localhost:{port}/x.jpg",
    "https://localhost:{port}\\@res.cloudinary.com/x.jpg",
    "https://res.cloudinary.com:444/image/upload/x.jpg",
    "ht\ntps://localhost:{port}/x.jpg",
    "https://[::1",
    "app/static/x.jpg",
]


def library(make_batch, n, **columns):
    own = open_service(load_settings())
    own._faces.add(make_batch([f"face-{i:02d}" for i in range(n)], **columns))
    return own, own.new_person([f"face-{i:02d}" for i in range(n)], "Anna")


def shown(test):
    """Addresses of all pictures on a page."""
    return [image.url for element in test.get("image") for image in element.proto.imgs]


def test_no_address_of_the_data_is_opened_fetched_or_shown(app, make_batch, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        hostile = [address.format(port=port) for address in HOSTILE]
        n = len(hostile)
        own, person = library(make_batch, 2 * n, crop_urls=hostile + [""] * n, url=[""] * n + hostile)
        monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "res.cloudinary.com")
        opened = []
        real = builtins.open
        monkeypatch.setattr(builtins, "open", lambda file, *a, **k: opened.append(str(file)) or real(file, *a, **k))
        tests = [app("person", id=person), app("people"), app("find", person=person), app("status")]
        tests += [app("person", id=person, photo=face) for face in own.view().faces.ids]
        listener.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listener.accept()
    own_secrets = {str(place / ".streamlit" / "secrets.toml") for place in (Path.home(), Path.cwd())}
    named = [path for path in opened if path not in own_secrets]  # Streamlit's, where it looks whether people sign in
    assert not [path for path in named if "passwd" in path or "secrets.toml" in path or path.startswith("..")]
    pictures = [url for test in tests for url in shown(test)]
    assert len(pictures) > 2 * n
    assert {url.split("/")[1] for url in pictures} <= {"media", "mock"}, set(pictures)
    payloads = repr([element.proto for test in tests for element in test.get("bidi_component")])
    assert "localhost" not in payloads
    assert "passwd" not in payloads


def test_a_face_without_a_crop_is_cut_out_of_its_photo_by_an_allowed_host(app, make_batch, monkeypatch):
    nan = float("nan")
    _, person = library(
        make_batch, 3, url=[PHOTO.format("a"), PHOTO.format("b"), PHOTO.format("c").replace("https", "http")],
        boxes=[[nan] * 4, [10, 20, 110, 140], [nan] * 4],
    )  # fmt: skip
    refused = shown(app("person", id=person))
    assert not [url for url in refused if "cloudinary" in url]
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "res.cloudinary.com")
    found = set(shown(app("person", id=person)))
    base = "https://res.cloudinary.com/demo/image/upload/"
    assert {url for url in found if "cloudinary" in url} == {
        f"{base}c_thumb,g_face,w_200,h_200/v17/a.jpg",
        f"{base}c_crop,x_10,y_20,w_100,h_120/c_limit,w_200,h_200/v17/b.jpg",
        f"{base}c_thumb,g_face,w_200,h_200/v17/c.jpg",
    }


def test_a_picture_at_hand_is_never_asked_of_a_host(app, make_batch, monkeypatch):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "JPEG")
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "res.cloudinary.com")
    _, person = library(make_batch, 2, url=[PHOTO.format("a")] * 2, crops=[out.getvalue()] * 2)
    assert not [url for url in shown(app("person", id=person)) if "cloudinary" in url]


def test_people_says_once_why_faces_are_drawn_heads_and_where_the_setting_is(app, make_batch, monkeypatch, texts):
    own, _ = library(make_batch, 3, url=[PHOTO.format("a"), PHOTO.format("b"), "https://photos.example/c.jpg"])
    for face in own.view().faces.ids:
        own.new_person([face])
    assert texts(app("people")).count("Not shown yet: pictures of 2 faces on res.cloudinary.com") == 1
    assert "FACECLUSTER_IMAGE_HOSTS=res.cloudinary.com,photos.example" in [c.value for c in app("status").code]
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "res.cloudinary.com")
    assert "Not shown yet" not in texts(app("people"))


def headers_of(app):
    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return (await client.get("/")).headers

    return asyncio.run(ask())


def test_every_answer_keeps_our_address_and_names_the_hosts_of_pictures(monkeypatch):
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "res.cloudinary.com, photos.example")
    answering = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))], middleware=MIDDLEWARE)
    headers = headers_of(answering)
    policy = "img-src 'self' data: blob: https://res.cloudinary.com https://photos.example"
    assert headers["Content-Security-Policy"] == policy
    assert headers["Referrer-Policy"] == "same-origin"
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", "not a host")
    assert headers_of(answering)["Content-Security-Policy"] == "img-src 'self' data: blob:"


def test_the_app_that_streamlit_serves_has_these_rules():
    import app

    assert app.app._user_middleware == [*MIDDLEWARE, *GATE]
