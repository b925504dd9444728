"""XMP sidecars that say who is where on a photo, in the regions of the Metadata Working Group (mwg-rs).

A sidecar is called `PHOTO.ext.xmp`, as digiKam and darktable do it; exiftool reads it by any name. A region is measured
in shares of the photo, so one is written only where the size of the photo is known: it is read from the header of the
photo itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image, UnidentifiedImageError

from facecluster.errors import InputError
from facecluster.images import FORMATS
from facecluster.ports import Progress
from facecluster.view import View

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>\n'
_OURS = re.compile(rb' x:xmptk="facecluster ([0-9a-f]{64})"')
_UNSIGNED = "0" * 64
_MOST = 16 * 2**20  # no sidecar of ours is as long
# XML 1.0 has no way to write these, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ORIENTATION, _UPRIGHT = 0x0112, (None, 1)


@dataclass(frozen=True)
class Region:
    """A face on a photo: whose, its middle and its size, in shares of the photo's width and height."""

    name: str
    x: float
    y: float
    w: float
    h: float


@dataclass
class Sidecars:
    """What was written, and why some photos have none."""

    written: int = 0
    regions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def left_out_in_words(self) -> list[str]:
        """A line for each reason."""
        return [f"{n:,} {'photo has' if n == 1 else 'photos have'} none: {why}." for why, n in self.left_out.items()]


def write_sidecars(view: View, folder: Path, photos: Path | None = None, progress: Progress | None = None) -> Sidecars:
    """Write a sidecar for every photo with a named face whose place is known.

    Parameters
    ----------
    view : View
        The library. The key of a photo is its path below `photos`.
    folder : Path
        Where the sidecars go, in the folders of the photos.
    photos : Path | None
        Where the photos lie; None where they lie in `folder` too.

    Raises
    ------
    InputError
        If there is no such folder, or it cannot be written.
    """
    here = (photos or folder).absolute()
    if not here.is_dir():
        raise InputError(f"There is no folder {here} of photos. Nothing was written. Name it with --photos.")
    done, by_photo = Sidecars(), _named_faces(view)
    for n, (photo, rows) in enumerate(by_photo.items()):
        why = _write_one(view, photo, rows, here, folder.absolute(), done)
        if why:
            done.left_out[why] += 1
        if progress:
            progress((n + 1) / len(by_photo), "Writing sidecars")
    return done


def sidecar(width: int, height: int, regions: list[Region]) -> bytes:
    """The text of a sidecar; the hash in it says that nobody else wrote to it since."""
    plain = _document(width, height, regions)
    return plain.replace(_UNSIGNED, hashlib.sha256(plain.encode()).hexdigest(), 1).encode()


def is_ours(data: bytes) -> bool:
    """Whether a sidecar is exactly what we wrote once: other programs add to what they find."""
    found = _OURS.search(data[:1_000])
    if found is None:
        return False
    plain = data[: found.start(1)] + _UNSIGNED.encode() + data[found.end(1) :]
    return hashlib.sha256(plain).hexdigest().encode() == found.group(1)


def _document(width: int, height: int, regions: list[Region]) -> str:
    for prefix, uri in _NAMESPACES.items():
        ET.register_namespace(prefix, uri)
    top = ET.Element(_name("x:xmpmeta"), {_name("x:xmptk"): f"facecluster {_UNSIGNED}"})
    about = ET.SubElement(ET.SubElement(top, _name("rdf:RDF")), _name("rdf:Description"), {_name("rdf:about"): ""})
    info = ET.SubElement(about, _name("mwg-rs:Regions"), {_name("rdf:parseType"): "Resource"})
    size = {"stDim:w": str(width), "stDim:h": str(height), "stDim:unit": "pixel"}
    ET.SubElement(info, _name("mwg-rs:AppliedToDimensions"), _named(size))
    bag = ET.SubElement(ET.SubElement(info, _name("mwg-rs:RegionList")), _name("rdf:Bag"))
    for region in regions:
        item = ET.SubElement(bag, _name("rdf:li"))
        called = {"mwg-rs:Name": _NOT_XML.sub("", region.name), "mwg-rs:Type": "Face"}
        face = ET.SubElement(item, _name("rdf:Description"), _named(called))
        area = {f"stArea:{side}": f"{getattr(region, side):.6f}" for side in "xywh"}
        ET.SubElement(face, _name("mwg-rs:Area"), _named({**area, "stArea:unit": "normalized"}))
    ET.indent(top, " ")
    return _BEGIN + ET.tostring(top, "unicode") + _END


def _name(short: str) -> str:
    prefix, _, local = short.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _named(attributes: dict[str, str]) -> dict[str, str]:
    return {_name(key): value for key, value in attributes.items()}


def _named_faces(view: View) -> dict[str, list[int]]:
    """Rows of faces of people with a name, by photo."""
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(view.state.owner >= 0).tolist():
        photo = view.faces.photo[row]
        if photo and view.snapshot.people[view.state.people[view.state.owner[row]]].name:
            found.setdefault(photo, []).append(row)
    return found


def _regions(view: View, rows: list[int], width: int, height: int) -> Iterator[Region]:
    """Faces whose box lies in the photo, cut off at its edges."""
    for row in rows:
        left, top, right, bottom = np.clip(view.faces.boxes[row].astype(float) / (width, height, width, height), 0, 1)
        if left < right and top < bottom:  # false where the box is not known
            name = view.snapshot.people[view.state.people[view.state.owner[row]]].name
            yield Region(name, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def _write_one(view: View, photo: str, rows: list[int], here: Path, folder: Path, done: Sidecars) -> str:
    """Write the sidecar of one photo; why not, "" where it was written."""
    if np.isnan(view.faces.boxes[rows]).any(axis=1).all():
        return "where their faces are is not known"
    try:
        path = (here / photo).resolve()
        if Path(photo).is_absolute() or not path.is_relative_to(here.resolve()) or not path.is_file():
            return f"no photo of that name is below {here}"
        size = _size(path)
        if isinstance(size, str):
            return size
        regions = list(_regions(view, rows, *size))
        if not regions:
            return "their faces lie outside the photo"
        target = folder / f"{photo}.xmp"
        if not _is_free(target, folder):
            return "another program wrote their sidecar, which stays as it is"
        _replace(target, sidecar(*size, regions))
    except (OSError, ValueError) as exc:  # a name with a NUL among others
        raise InputError(
            f"The sidecar of {photo!r} cannot be written: {exc}. {done.written:,} were before. Check the disk, and the "
            "folder's rights."
        ) from exc
    done.written += 1
    done.regions += len(regions)
    return ""


def _size(path: Path) -> tuple[int, int] | str:
    """Width and height in pixels, from the header; or why they do not help."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the header is read, and no pixel
            with Image.open(path, formats=FORMATS) as picture:
                # Some detectors turn a photo upright before they measure, and some do not.
                if picture.getexif().get(_ORIENTATION) not in _UPRIGHT:
                    return "the camera was turned, so it is not known in which of two ways faces were measured"
                return picture.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "the photo is no JPEG, PNG or WebP"


def _is_free(target: Path, folder: Path) -> bool:
    """Whether nothing of anybody else's is overwritten, nor reached through a link."""
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        return False
    if not os.path.lexists(target):
        return True
    return (
        target.is_file() and not target.is_symlink() and target.stat().st_size < _MOST and is_ours(target.read_bytes())
    )


def _replace(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        aside.write_bytes(data)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
