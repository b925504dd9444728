"""Where the browser finds pictures: addresses from the data, held against the hosts that the settings allow.

An address goes into the page as text. Nothing here or behind it opens one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import numpy as np

from facecluster import images
from facecluster.model import FaceId
from facecluster.view import View


def address_of_face(view: View, face: FaceId, hosts: Sequence[str]) -> str:
    """Address of the picture of a face: of its crop, else cut out of its photo; "" where no allowed host has one."""
    return next((url for url in _candidates(view, face) if images.may_load(url, hosts)), "")


def hosts_of_face(view: View, face: FaceId) -> list[str]:
    """Hosts that would have a picture of a face, the one with its crop first."""
    found = []
    for url in _candidates(view, face):
        host = _host(url)
        if host and images.may_load(url, [host]):
            found.append(host)
    return found


def address_of_photo(view: View, face: FaceId, hosts: Sequence[str]) -> str:
    """Address of the photo a face is in, "" where no allowed host has it."""
    url = images.secured(view.faces.url[view.row(face)])
    return url if images.may_load(url, hosts) else ""


def box_of_face(view: View, face: FaceId) -> images.Box | None:
    """Left, top, right and bottom of a face in its photo, in pixels; None where unknown."""
    left, top, right, bottom = view.faces.boxes[view.row(face)].tolist()
    return (left, top, right, bottom) if np.isfinite([left, top, right, bottom]).all() else None


def _candidates(view: View, face: FaceId) -> Iterator[str]:
    row = view.row(face)
    crop, photo = images.secured(view.faces.crop_urls[row]), images.secured(view.faces.url[row])
    if crop:
        yield images.thumbnail_url(crop)
    box = box_of_face(view, face)
    cut = images.face_in_photo_url(photo, box, _n_faces_of_photo(view, row) if photo and box is None else 1)
    if cut:
        yield cut


def _n_faces_of_photo(view: View, row: int) -> int:
    number = view.faces.photo_number
    return int((number == number[row]).sum()) if number[row] >= 0 else 1


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:  # brackets that do not close
        return ""
