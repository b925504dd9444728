"""What stands before the routes: each route there is has been thought of."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import HTTPConnection

from facecluster.ui import gate, sign_in

# Routes that answer anybody: the program's own files, whether the server is alive, the way in and out, and the socket,
# whose every run asks who it is for.
OPEN = (
    "/_stcore/health", "/_stcore/host-config", "/_stcore/stream", "/auth/login", "/auth/logout", "/oauth2callback",
    "/plotly.min.js", "/component/", "/_stcore/bidi-components/", "/static", "/healthz", "",
)  # fmt: skip


def paths_of(routes, base: str = "") -> list[str]:
    found = []
    for route in routes:
        found += paths_of(getattr(route, "routes", None) or [], base + route.path) or [base + route.path]
    return found


def test_each_route_of_the_server_is_open_on_purpose_or_asks_for_a_session():
    from streamlit.runtime import Runtime
    from streamlit.web.server.starlette.starlette_app import App

    from facecluster.ui import crops, face_map

    Runtime._instance = None  # AppTest may have left one
    app = App("app.py", routes=[*crops.ROUTES, *face_map.ROUTES])
    try:
        paths = paths_of(app._build_starlette_app().routes)
    finally:
        Runtime._instance = None
    assert len(paths) > 12
    closed = {path for path in paths if path.startswith(gate.INSIDE)}
    assert {"/crops/{token}/{mark}.jpg", "/media/{file_id:path}"} <= closed
    unknown = [p for p in paths if p not in closed and not any(p == o or (o and p.startswith(o)) for o in OPEN)]
    assert unknown == []


def asked(host: str = "localhost:8501", client: str | None = "127.0.0.1", origin: str = "", kind: str = "http"):
    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
    scope = {"type": kind, "path": "/", "headers": headers, "client": (client, 1) if client else None}
    return HTTPConnection(scope)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:8501", "a.localhost"])
def test_this_machine_is_answered(host):
    assert gate._refusal(asked(host)) == ""


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1", None])
def test_the_other_end_on_this_machine_is_answered(client):
    assert gate._refusal(asked(client=client)) == ""


@pytest.mark.parametrize("client", ["10.0.0.7", "203.0.113.9", "::ffff:10.0.0.7", "fe80::1", "unknown"])
def test_another_machine_is_refused_whatever_it_calls_us(client):
    assert "FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN" in gate._refusal(asked(client=client))


def test_another_machine_is_answered_where_that_was_switched_on(monkeypatch):
    monkeypatch.setenv("FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN", "true")
    assert gate._refusal(asked("faces.example", "10.0.0.7")) == ""
    assert gate._refusal(asked("faces.example", "10.0.0.7", "https://evil.example", "websocket")) != ""


def test_an_own_page_behind_https_opens_its_socket():
    assert gate._is_own_origin(["https://faces.example"], "faces.example")
    assert not gate._is_own_origin(["https://faces.example", "https://evil.example"], "faces.example")
    assert not gate._is_own_origin(["https://faces.example:444"], "faces.example")


def test_with_https_every_cookie_is_secure(monkeypatch):
    monkeypatch.setattr(gate, "get_origin_from_redirect_uri", lambda: "https://faces.example")
    sent = []

    async def send(message):
        sent.append(message)

    cookies = [(b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Secure"), (b"x", b"y")]
    asyncio.run(gate._secure(send)({"type": "http.response.start", "status": 200, "headers": cookies}))
    headers = dict.fromkeys(value for name, value in sent[0]["headers"] if name == b"set-cookie")
    assert list(headers) == [b"a=1; Path=/; Secure", b"b=2; Secure"]


def test_a_request_sees_what_is_its_users_and_nothing_of_others(monkeypatch):
    monkeypatch.setattr(sign_in, "_found_at_start", True)
    assert sign_in.may_see({sign_in.WHOSE: "a|b"}, "a|b")
    assert not sign_in.may_see({sign_in.WHOSE: "a|c"}, "a|b")
    assert not sign_in.may_see({}, "a|b")
    monkeypatch.setattr(sign_in, "_found_at_start", False)
    assert sign_in.may_see({}, "local")
