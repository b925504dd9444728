"""Pictures from outside: decoded within limits, never fetched, never opened by path.

What decodes is called in the processes of `decoding` alone; the rest of the program asks there.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from PIL import Image, ImageDraw, UnidentifiedImageError

from facecluster.errors import InputError

# JPEG, PNG and WebP cover every face index seen; each further decoder is attack surface.
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 2_000_000
MAX_PIXELS = 4_000_000
# A sketch is at most this many times as tall as wide: boxes come from files, and a file may say anything.
MAX_SKETCH_RATIO = 3

# What Pillow raises over pictures that are not whole.
BROKEN = (
    *(UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError),
    *(LookupError, ArithmeticError),
    *(MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)

_DATA_URI = re.compile(r"data:image/(?:jpeg|jpg|png|webp);base64,", re.IGNORECASE)
_THUMB = "c_thumb,g_face,w_200,h_200"
_THUMB_OF_ALL = "c_thumb,g_faces,w_200,h_200"
_AT_MOST = "c_limit,w_200,h_200"
# Segments of a Cloudinary address after /upload/: "w_900,q_auto" changes the picture, "v1712" is its version, and
# "s--Ab3dE6gH--" signs everything after it.
_CHANGES = re.compile(r"[a-z]{1,4}_[^,/]+(?:,[a-z]{1,4}_[^,/]+)*")
_VERSION = re.compile(r"v\d+")
_SIGNATURE = re.compile(r"s--[\w-]+--")
_MOST_PIXELS = 100_000  # a side of a photo; boxes come from outside
# What a browser leaves out of an address or takes for a slash: with one of them, its host is not the one read here.
_TREACHEROUS = re.compile(r"[\x00-\x1f\x7f\\]")

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a face, in pixels of its photo."""


def checked_crop(data: bytes) -> bytes:
    """Return the bytes of a face picture as they are, once their header says that they are harmless.

    Raises
    ------
    InputError
        If there are more than 2 MB or 4 million pixels, or if it is no JPEG, PNG or WebP.
    """
    with _opened(data):
        return data


def too_long(data: bytes) -> str:
    """Why so many bytes are not even looked at; "" where they are few enough."""
    return f"the picture has {len(data):,} bytes, and the limit is {MAX_BYTES:,}" if len(data) > MAX_BYTES else ""


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A picture of which nothing but the header was read, and that is no larger than the limits."""
    if reason := too_long(data):
        raise InputError(reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is far below Pillow's
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as exc:
        raise InputError(f"the picture has more than the limit of {MAX_PIXELS:,} pixels") from exc
    except BROKEN as exc:
        raise InputError("the picture is no JPEG, PNG or WebP") from exc
    with picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(f"the picture has {width:,} x {height:,} pixels, and the limit is {MAX_PIXELS:,}")
        yield picture


def crop_from_text(text: str) -> tuple[bytes, str]:
    """Read a `face_crop` field: bytes for base64 and data URIs, the address for https.

    Returns
    -------
    tuple[bytes, str]
        (picture, "") or (b"", address).

    Raises
    ------
    InputError
        If it is neither. Whether the bytes are a picture is for `decoding.refusals` to say.
    """
    text = text.strip()
    if not text:
        return b"", ""
    if text.lower().startswith("https://"):
        return b"", text
    payload = _DATA_URI.sub("", text, count=1) if text.startswith("data:") else text
    if len(payload) > MAX_BYTES * 4 // 3 + 4:
        raise InputError(f"the picture has more than {MAX_BYTES:,} bytes")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InputError("the picture is neither base64, a data URI nor an https address") from exc
    return data, ""


def secured(url: str) -> str:
    """The https address of a picture at Cloudinary, which serves both and calls the plain one `url`; others as is."""
    if url[:7].lower() == "http://" and _is_cloudinary(url):
        return f"https://{url[7:]}"
    return url


def thumbnail_url(url: str) -> str:
    """Address of a face-sized picture: Cloudinary's face transformation, any other address as it is."""
    return _transformed(url, _THUMB) or url


def face_in_photo_url(url: str, box: Box | None, n_faces: int = 1) -> str:
    """Address of the picture of one face, cut out by the host of its photo; "" where that host cuts nothing out.

    Parameters
    ----------
    box : Box | None
        Where the face is, None where unknown: then Cloudinary's own face detection finds it.
    n_faces : int
        Known faces of the photo. Detection takes the largest, which is somebody else for all but one of several
        faces: those are shown together rather than as the wrong one.
    """
    crop = _crop(box) if box is not None else ""
    return _transformed(url, f"{crop}/{_AT_MOST}" if crop else _THUMB if n_faces == 1 else _THUMB_OF_ALL)


def _crop(box: Box) -> str:
    """Cloudinary's words for exactly this box; "" for one that cannot be."""
    if not all(-_MOST_PIXELS < side < _MOST_PIXELS for side in box):  # not finite, among others
        return ""
    left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    width, height = math.ceil(box[2]) - left, math.ceil(box[3]) - top
    return f"c_crop,x_{left},y_{top},w_{width},h_{height}" if width > 0 and height > 0 else ""


def _transformed(url: str, change: str) -> str:
    """A Cloudinary address with one more change, after those it has; "" where it cannot take one."""
    if not _is_cloudinary(url):
        return ""
    parts = urlsplit(url)
    before, upload, after = parts.path.partition("/upload/")
    segments = after.split("/")
    if not upload or _SIGNATURE.fullmatch(segments[0]):  # a signature holds for what it was made for, and no more
        return ""
    version = next((at for at, segment in enumerate(segments) if _VERSION.fullmatch(segment)), 0)
    # Boxes are measured in the picture that the address shows, so what it changes already comes first.
    at = version if all(map(_CHANGES.fullmatch, segments[:version])) else 0
    return parts._replace(path="/".join([f"{before}/upload", *segments[:at], change, *segments[at:]])).geturl()


def _is_cloudinary(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # brackets that do not close
        return False
    return host == "cloudinary.com" or host.endswith(".cloudinary.com")


def may_load(url: str, hosts: Sequence[str]) -> bool:
    """Whether the browser may load this address: https, and a host in the setting `image_hosts`."""
    if not url.lower().startswith("https://") or _TREACHEROUS.search(url):
        return False
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return host in hosts and "@" not in parts.netloc and port in (None, 443)


def decoded(data: bytes, size: int | None = None) -> Image.Image:
    """RGB picture of at most `size` pixels a side, or the placeholder where the bytes turn out to be broken."""
    image = _rgb(data, size)
    if image is None:
        return placeholder(size or 112)
    if size:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def _rgb(data: bytes, size: int | None = None) -> Image.Image | None:
    try:
        with _opened(data) as picture:
            picture.draft("RGB", (size or picture.width, size or picture.height))
            return picture.convert("RGB")
    except (InputError, *BROKEN):
        return None


def square(data: bytes, size: int) -> bytes:
    """JPEG of `size` x `size` pixels: the middle of the picture, or the placeholder."""
    image = _rgb(data) or placeholder(size)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return _jpeg(image)


def placeholder(size: int) -> Image.Image:
    """A drawn head on paper, for a face without a picture."""
    big = size * 4
    image = Image.new("RGB", (big, big), "#e9e4dc")
    draw = ImageDraw.Draw(image)
    draw.ellipse([big * 0.34, big * 0.22, big * 0.66, big * 0.58], fill="#cbc3b7")
    draw.ellipse([big * 0.18, big * 0.64, big * 0.82, big * 1.3], fill="#cbc3b7")
    return image.resize((size, size), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class FaceInPhoto:
    """One face of a photo: where it is (left, top, right, bottom, pixels), its picture, whether it is the one meant."""

    box: Box
    crop: bytes
    is_meant: bool


def photo_sketch(faces: Sequence[FaceInPhoto], width: int = 900) -> bytes:
    """JPEG of where the faces of a photo are, put together from their crops when the photo itself is not at hand.

    The face that is meant carries a ring.
    """
    right = max(1.0, *(face.box[2] for face in faces))
    bottom = max(1.0, *(face.box[3] for face in faces))
    # The crops are all we have; a margin of an eighth stands for the photo around them.
    scale = min(width / (right * 1.125), width * MAX_SKETCH_RATIO / (bottom * 1.125))
    image = Image.new("RGB", (width, max(int(bottom * 1.125 * scale), 1)), "#e9e4dc")
    draw = ImageDraw.Draw(image)
    for face in faces:
        left, top, side_x, side_y = (int(max(v, 0.0) * scale) for v in face.box)
        size = (max(side_x - left, 1), max(side_y - top, 1))
        image.paste(decoded(face.crop).resize(size, Image.Resampling.LANCZOS), (left, top))
        if face.is_meant:
            draw.rectangle([left - 6, top - 6, side_x + 5, side_y + 5], outline="#34568f", width=4)
    return _jpeg(image)


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()
