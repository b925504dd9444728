"""Pictures of faces as Streamlit's own widgets take them: signed addresses, or bytes where no route serves them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

import streamlit as st

from facecluster.images import square
from facecluster.model import FaceId
from facecluster.ui import crops, session
from facecluster.ui.addresses import address_of_face, hosts_of_face

# Pixels a side; about 3 kB.
_INLINE_SIZE = 96


def of_face(face: FaceId | None, size: int = 176) -> bytes | str:
    """What `st.image` shows for a face: an address that the browser may load, or JPEG bytes."""
    return of_faces([face], size)[0]


def of_faces(some: Iterable[FaceId | None], size: int) -> list[bytes | str]:
    """The same for many faces; settings and library are looked up once.

    Streamlit forgets a picture that it was handed as bytes before the browser has asked for it, so they come from our
    own route. Where there is none, small ones travel in the page itself.
    """
    own, v, hosts = session.service(), session.view(), session.settings().image_hosts
    origin = _origin()
    if crops.is_served() and origin:
        base, side = f"{origin}{crops.base_of(own, v.faces)}", crops.side_for(size)
        return [crops.address(base, crops.name_of(v, face, hosts), side) for face in some]
    found: list[bytes | str] = []
    for face in some:
        crop = own.crop(face) if face is not None else b""
        url = address_of_face(v, face, hosts) if face is not None and not crop else ""
        found.append(url or (_inline(crop, size) if size <= _INLINE_SIZE else _square(crop, size)))
    return found


def _origin() -> str:
    """Scheme, host and port as the browser has them; "" where there is no browser."""
    parts = urlsplit(st.context.url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def placeholders(some: Iterable[FaceId]) -> Counter[str]:
    """Hosts that have a picture of these faces but may not show it yet, and of how many; faces at hand count not."""
    own, v, allowed = session.service(), session.view(), session.settings().image_hosts
    found: Counter[str] = Counter()
    for face in some:
        hosts = [] if address_of_face(v, face, allowed) else hosts_of_face(v, face)
        if hosts and not own.crop(face):
            found[hosts[0]] += 1
    return found


def forget() -> None:
    """Let go of every picture that is kept in memory: somebody was erased."""
    _square.clear()
    _inline.clear()


@st.cache_data(show_spinner=False, max_entries=20_000)
def _square(crop: bytes, size: int) -> bytes:
    return square(crop, size)


@st.cache_data(show_spinner=False, max_entries=20_000)
def _inline(crop: bytes, size: int) -> str:
    return f"data:image/jpeg;base64,{b64encode(square(crop, size)).decode('ascii')}"
