"""What stands before every route of the server: who may connect, and whose pictures and files are handed out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import urlsplit

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.auth_util import get_cookie_with_chunks, get_origin_from_redirect_uri, get_secrets_auth_section
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value, decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import TOKENS_COOKIE_NAME, USER_COOKIE_NAME

from facecluster.config import load_settings
from facecluster.errors import FaceClusterError
from facecluster.identity import Identity, identity_of
from facecluster.ui import belongings, sign_in
from facecluster.ui.crops import prefix
from facecluster.ui.settings_now import settings_now

# Paths, below the prefix, that hand out or take what belongs to somebody. The rest are the program's own files, the
# page that asks to sign in, and the socket, whose every run asks who it is for.
INSIDE = (
    "/crops/",
    "/media/",
    "/_stcore/upload_file/",
    "/_stcore/metrics",
    "/_stcore/agent/",
    "/_stcore/script-health",
)
CALLBACK, LOGOUT = "/oauth2callback", "/auth/logout"
# What of the provider's claims is kept in the browser. All of them would be too much: cookies end at 4 kB, a list of
# groups may have 16, and a browser that sends 30 kB of cookies is refused by servers and proxies.
_KEPT = ("iss", "sub", "email", "email_verified", "name", "is_logged_in", "origin", "provider")
_MOST_HINT = 2500  # bytes of an identity token that is kept to sign out at the provider
# An identity token is signed with the provider's private key. The list of the provider's own metadata is not believed:
# "none" and HS256 would let anybody sign.
_SIGNED_BY = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)


class Gate:
    """Middleware: refuses who may not connect, and begins and ends sessions where people sign in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        asked = HTTPConnection(scope)
        refusal = _refusal(asked)
        if refusal:
            return await _refuse(scope, receive, send, refusal)
        if not sign_in.is_on():
            return await self._app(scope, receive, send)
        path = scope["path"].removeprefix(prefix())
        if path.startswith(INSIDE):
            found = await run_in_threadpool(_user_of, asked)
            if found is None or not belongings.is_of(found, path):
                return await _refuse(scope, receive, send, "Sign in first.")
            scope[sign_in.WHOSE] = found
        send = _secure(send)
        if path == CALLBACK:
            return await self._sign_in(scope, receive, send)
        if path == LOGOUT:
            return await self._sign_out(scope, receive, send)
        return await self._app(scope, receive, send)

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Streamlit and Authlib talk to the provider, then look at what came of it before the browser hears it."""
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        await self._app(scope, receive, hold)
        start = next((one for one in held if one["type"] == "http.response.start"), None)
        set_cookies = Headers(raw=start["headers"]).getlist("set-cookie") if start else []
        answer = await run_in_threadpool(_answer_of, HTTPConnection(scope), set_cookies)
        await answer(scope, receive, send)

    async def _sign_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = HTTPConnection(scope)
        if asked.headers.get("sec-fetch-site", "") == "cross-site":  # another site's link or picture
            return await RedirectResponse(f"{prefix()}/", 302)(scope, receive, send)
        await run_in_threadpool(sign_in.sessions().end, asked.cookies.get(sign_in.COOKIE, ""), "signed out")

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Clear-Site-Data"] = '"cache"'  # pictures that the browser kept
                gone = Response()
                _delete(gone, sign_in.COOKIE)
                headers.append("set-cookie", gone.headers["set-cookie"])
            await send(message)

        await self._app(scope, receive, tell)


GATE = [Middleware(Gate)]


# --- who may connect -----------------------------------------------------------------------------------------------


def _refusal(asked: HTTPConnection) -> str:
    """Why this connection is refused, "" where it is not."""
    host = asked.headers.get("host", "")
    if not sign_in.is_on() and not _is_open() and not (_is_here(host) and _is_from_here(asked)):
        return (
            f"This library is open to the machine it runs on only, and was asked as {host!r}. Nothing was shown. Set "
            "up sign-in (docs/sign-in.md), or set FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN=true where everybody "
            "who reaches this address may see and change every face."
        )
    if asked.scope["type"] == "websocket" and not _is_own_origin(asked.headers.getlist("origin"), host):
        return "A page of another origin asked. Nothing was shown. See server.corsAllowedOrigins in docs/sign-in.md."
    return ""


def _is_open() -> bool:
    try:
        return settings_now().open_without_sign_in
    except FaceClusterError:  # the page says it in its own words
        return False


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine; a name that an attacker's DNS leads here does not."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_from_here(asked: HTTPConnection) -> bool:
    """Whether the other end is on this machine; a Unix socket has no address."""
    return asked.client is None or _is_loopback(asked.client.host)


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _is_own_origin(origins: list[str], host: str) -> bool:
    """Whether a socket is opened by a page of ours; Streamlit alone lets in every port of localhost.

    Programs that are no browsers send no origin, and no cookie that Streamlit would believe without one.
    """
    if not origins:
        return True
    (origin, *more) = origins
    listed = {one.strip().rstrip("/") for one in st.get_option("server.corsAllowedOrigins") or ()}
    if more:
        return False
    if origin in listed or (sign_in.is_on() and origin == get_origin_from_redirect_uri()):
        return True
    return urlsplit(origin).scheme in ("http", "https") and urlsplit(origin).netloc.lower() == host.lower()


def _user_of(asked: HTTPConnection) -> str | None:
    try:
        found = sign_in.session_of(asked.cookies.get(sign_in.COOKIE, ""))
    except FaceClusterError:  # the pages say it; a picture cannot
        return None
    return found.user if found is not None else None


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})  # before it is accepted: status 403
        return
    await PlainTextResponse(why, 403, {"Cache-Control": "no-store"})(scope, receive, send)


# --- signing in ----------------------------------------------------------------------------------------------------


def _answer_of(asked: HTTPConnection, set_cookies: list[str]) -> Response:
    """What the browser gets after the provider sent it back: its cookies, or the page that says it did not work."""
    claims, id_token = _signed(set_cookies, USER_COOKIE_NAME), _signed(set_cookies, TOKENS_COOKIE_NAME).get("id_token")
    who = _verified(claims, id_token)
    cookies: dict[str, str] = {}
    if who is not None:
        cookies[USER_COOKIE_NAME] = _as_streamlit(
            USER_COOKIE_NAME, {name: claims[name] for name in _KEPT if name in claims}
        )
        if isinstance(id_token, str) and len(id_token) <= _MOST_HINT:
            cookies[TOKENS_COOKIE_NAME] = _as_streamlit(TOKENS_COOKIE_NAME, {"id_token": id_token})
        if sign_in.is_let_in(who):
            sign_in.sessions().end(asked.cookies.get(sign_in.COOKIE, ""), "signed in anew")
            token = sign_in.sessions().begin(who, str(claims["nonce"]))
            cookies = cookies | {sign_in.COOKIE: token} if token is not None else {}
    answer = RedirectResponse(f"{prefix()}/" if cookies else f"{prefix()}/?sign-in=failed", 302)
    for line in set_cookies:
        # A callback that came to nothing leaves as they are whoever is signed in: any page may send a browser here.
        if not claims or not line.startswith((USER_COOKIE_NAME, TOKENS_COOKIE_NAME)):
            answer.headers.append("set-cookie", line)
    for name in (USER_COOKIE_NAME, TOKENS_COOKIE_NAME, sign_in.COOKIE) if claims else ():
        if name in cookies:
            _set(answer, name, cookies[name])
        else:
            _delete(answer, name)
    return answer


def _verified(claims: Mapping[str, object], id_token: object) -> Identity | None:
    """Who signed in, where nothing speaks against it: Authlib checks signature, issuer, nonce and times, this the rest.

    Authlib takes the provider's word for the algorithm, and a token for another audience where `azp` names us.
    """
    auth, provider = get_secrets_auth_section(), claims.get("provider")
    section = auth if provider == "default" else auth.get(str(provider), {})
    client_id = section.get("client_id") if isinstance(section, Mapping) else None
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    is_ours = bool(client_id) and client_id in audiences and claims.get("azp", client_id) == client_id
    is_only = len(audiences) == 1 or claims.get("azp") == client_id
    has_nonce = isinstance(claims.get("nonce"), str) and bool(claims["nonce"])
    if not (is_ours and is_only and has_nonce and _algorithm(id_token) in _SIGNED_BY):
        return None
    return identity_of(claims)


def _algorithm(id_token: object) -> str:
    """By what a token is signed, as its header says; Authlib has verified it."""
    from joserfc.errors import JoseError
    from joserfc.jws import extract_compact

    if not isinstance(id_token, str):
        return ""
    try:
        return str(extract_compact(id_token.encode()).headers().get("alg", ""))
    except (JoseError, ValueError):
        return ""


def _signed(set_cookies: list[str], name: str) -> dict[str, object]:
    """What Streamlit put into a cookie of an answer, and signed; nothing where it put nothing."""
    values = dict(_values(set_cookies))
    secret = get_cookie_secret()

    def value(one: str) -> bytes | None:
        return decode_signed_value(secret, one, values[one]) if values.get(one) else None

    found = get_cookie_with_chunks(value, name)
    read = json.loads(found) if found else {}
    return read if isinstance(read, dict) else {}


def _values(set_cookies: list[str]) -> Iterator[tuple[str, str]]:
    for line in set_cookies:
        try:
            yield from ((name, morsel.value) for name, morsel in SimpleCookie(line).items())
        except CookieError:
            continue


def _as_streamlit(name: str, value: Mapping[str, object]) -> str:
    """A cookie's value, signed as Streamlit does."""
    return create_signed_value(get_cookie_secret(), name, json.dumps(value)).decode("ascii")


def _set(answer: Response, name: str, value: str) -> None:
    age = int(load_settings().session_hours * 3600)
    answer.set_cookie(name, value, max_age=age, path=prefix() or "/", httponly=True, samesite="lax")


def _delete(answer: Response, name: str) -> None:
    answer.delete_cookie(name, path=prefix() or "/", httponly=True, samesite="lax")


def _secure(send: Send) -> Send:
    """Where the dashboard is reached by https, no cookie of its travels without."""
    if not (get_origin_from_redirect_uri() or "").startswith("https://"):
        return send

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            lines = headers.getlist("set-cookie")
            del headers["set-cookie"]
            for line in lines:
                headers.append("set-cookie", line if "; secure" in line.lower() else f"{line}; Secure")
        await send(message)

    return tell
