"""Pictures of faces over a route of our own: addresses that are signed, expire, and are made for who sees a library.

Where nobody signs in the address itself is the permission; its secret lives as long as the server. Where people sign
in, it opens in a browser with a session of that user and nowhere else.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from weakref import WeakKeyDictionary

import streamlit as st
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from facecluster.decoding import square
from facecluster.errors import FaceClusterError
from facecluster.model import FaceId, FaceSet
from facecluster.service import Service
from facecluster.ui import sign_in
from facecluster.ui.addresses import address_of_face
from facecluster.ui.ahead import page_is_drawn
from facecluster.view import View

# Pixels a side: a thumbnail, a tile, a tile on a fine screen. Only these, so that nobody fills the cache with others.
SIZES = (96, 176, 352)
# An address lives for one to two of these; a page that is left open asks again with a new one at its next run.
PERIOD_S = 12 * 3600
# What stands for the mark of a face that has no picture.
NO_PICTURE = "none"
# Some 4,000 tiles: what several people look at. A browser keeps what it has, and to make one anew takes 2 ms.
_CACHE_BYTES = 24_000_000
# Pictures that are read at the same time. Starlette's forty threads took the interpreter in turns, and each kept a
# connection to the library's file, with 2 MB of it, after the last window was closed.
_AT_ONCE = 4

_SECRET = secrets.token_bytes(32)


@dataclass(frozen=True)
class _Library:
    """What one library shows: its name in addresses, and a face for the mark of each picture."""

    scope: str
    faces: FaceSet
    face_of: Mapping[str, FaceId]


class _Kept:
    """JPEGs by picture and size, the longest unused given up first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._lock = Lock()

    def clear(self) -> None:
        """Give all of them up."""
        with self._lock:
            self._kept.clear()
            self._size = 0

    def get(self, crop: bytes, size: int) -> bytes:
        """The picture at this size, made where it is not kept."""
        key = (sha256(crop).digest(), size)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = square(crop, size)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._size += len(made)
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made


# A library is known as long as something else holds it; this must not be what keeps it open.
_libraries: WeakKeyDictionary[Service, _Library] = WeakKeyDictionary()
_kept = _Kept(_CACHE_BYTES)
_served = False


def jpeg_of(crop: bytes, size: int) -> bytes:
    """A picture as a square JPEG, kept for who asks again."""
    return _kept.get(crop, size)


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """While the server that has the route runs, `is_served`."""
    global _served
    del app
    _served = True
    yield
    _served = False


def forget() -> None:
    """Let go of every picture that is kept in memory: somebody was erased."""
    _kept.clear()


def is_served() -> bool:
    """Whether the route answers: it does not where a page runs without the app (in a test, under another server)."""
    return _served


def prefix() -> str:
    """Where the dashboard's own routes begin, "" or "/" and a path."""
    path = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{path}" if path else ""


def base_of(service: Service, faces: FaceSet) -> str:
    """How the addresses of a library's pictures begin. Call it only for who may see that library."""
    known = _libraries.get(service)
    if known is None or known.faces is not faces:
        scope = _signed(f"{service.user}\0{service.settings!r}")[:16]
        face_of = {mark: face for face, mark in zip(faces.ids, faces.picture_marks, strict=False) if mark}
        known = _libraries[service] = _Library(scope, faces, face_of)
    said = f"{known.scope}-{_period():x}"
    return f"{prefix()}/crops/{said}-{_signed(said)}/"


def name_of(view: View, face: FaceId | None, hosts: Sequence[str]) -> str:
    """What follows the base for one face: the mark of its picture, an address at an allowed host, or "" for none."""
    if face is None:
        return ""
    marks, row = view.faces.picture_marks, view.row(face)
    mark = marks[row] if marks else ""
    return mark or address_of_face(view, face, hosts)


def side_for(size: int) -> int:
    """The smallest side that is enough for so many pixels."""
    return next((side for side in SIZES if side >= size), SIZES[-1])


def address(base: str, name: str, size: int = SIZES[1]) -> str:
    """A whole address out of the two parts; of the drawn head where the name is ""."""
    return name if name.startswith("https://") else f"{base}{name or NO_PICTURE}.jpg?s={size}"


async def _picture(request: Request) -> Response:
    with page_is_drawn():
        return await run_sync(_answer, request, limiter=_at_once())


@lru_cache(maxsize=1)
def _at_once() -> CapacityLimiter:
    return CapacityLimiter(_AT_ONCE)


def _answer(request: Request) -> Response:
    found = _of_token(request.path_params["token"])
    mark, size = request.path_params["mark"], request.query_params.get("s", "")
    if found is None or size not in map(str, SIZES):
        return _missing()
    service, library = found
    if not sign_in.may_see(request.scope, service.user):
        return _missing()
    if mark == NO_PICTURE:
        return _jpeg(b"", int(size))
    face = library.face_of.get(mark)
    try:
        # Asked for each time although the JPEG may be kept: what was erased a moment ago is not shown any more.
        crop = service.crop(face) if face is not None else b""
    except FaceClusterError:  # the pages say it; a picture cannot
        return _missing()
    return _jpeg(crop, int(size)) if crop else _missing()


def _jpeg(crop: bytes, size: int) -> Response:
    headers = {
        "Cache-Control": f"private, max-age={PERIOD_S}, immutable",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_kept.get(crop, size), media_type="image/jpeg", headers=headers)


def _missing() -> Response:
    return Response(status_code=404, headers={"Cache-Control": "no-store"})


def _of_token(token: str) -> tuple[Service, _Library] | None:
    """The library that a token opens; None for a token that is not ours, or too old."""
    said, _, signature = token.rpartition("-")
    scope, _, period = said.partition("-")
    if not hmac.compare_digest(signature.encode(), _signed(said).encode()):
        return None
    if int(period, 16) not in (_period(), _period() - 1):
        return None
    return next(((service, known) for service, known in [*_libraries.items()] if known.scope == scope), None)


def _period() -> int:
    return int(time.time()) // PERIOD_S


def _signed(text: str) -> str:
    return hmac.new(_SECRET, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()[:32]


ROUTES = [Route(f"{prefix()}/crops/{{token}}/{{mark}}.jpg", _picture)]
