"""The process in which pictures are decoded: it may use little memory and little time, and open nothing.

Started by `decoding`; reads one request after the other from its input until that ends. A request is a head (what to
do, a size in pixels, how many parts) and its parts, each with its length; the answer is as many parts, or one for a
sketch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from facecluster.errors import InputError
from facecluster.images import FaceInPhoto, checked_crop, photo_sketch, square

CHECK, SQUARE, SKETCH = range(3)
HEAD = struct.Struct("<BII")  # what to do, size in pixels, number of parts
LENGTH = struct.Struct("<I")
FACE = struct.Struct("<4f?")  # in front of a crop in a sketch: its box, and whether it is the face that is meant

# A picture of 4 million pixels is 16 MB; Pillow holds it twice, or once beside the coefficients of a progressive JPEG.
MEMORY_BYTES = 64 * 2**20
# The slowest picture that is allowed takes a quarter of it on a slow core. Processor time, so that load does not count.
CPU_S = 1.0

_DECODERS = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)  # loaded before files can no longer be opened


def read_part(stream: BinaryIO) -> bytes:
    """One part of a message.

    Raises
    ------
    EOFError
        If the other side is gone.
    """
    (length,) = LENGTH.unpack(read_exactly(stream, LENGTH.size))
    return read_exactly(stream, length)


def read_exactly(stream: BinaryIO, n: int) -> bytes:
    """So many bytes; `EOFError` where there are fewer."""
    data = stream.read(n)
    if len(data) < n:
        raise EOFError
    return data


def write_parts(stream: BinaryIO, head: bytes, parts: Sequence[bytes]) -> None:
    """Write a message."""
    stream.write(head + b"".join(LENGTH.pack(len(part)) + part for part in parts))
    stream.flush()


def answered(what: int, size: int, parts: Sequence[bytes]) -> list[bytes]:
    """What a request comes to."""
    if what == SKETCH:
        return [photo_sketch([_face(part) for part in parts], size)]
    found = []
    for part in parts:
        _allow(CPU_S)
        found.append(_reason(part) if what == CHECK else square(part, size))
    return found


def _face(part: bytes) -> FaceInPhoto:
    *box, is_meant = FACE.unpack_from(part)
    left, top, right, bottom = box
    return FaceInPhoto((left, top, right, bottom), part[FACE.size :], is_meant)


def _reason(data: bytes) -> bytes:
    try:
        checked_crop(data)
    except InputError as exc:
        return str(exc).encode("utf-8")
    return b""


def _allow(seconds: float) -> None:
    """End this process, in the middle of a decoder's loop if need be, after so much processor time; 0: never."""
    if hasattr(signal, "setitimer"):  # not on Windows, where the deadline of who asks has to do
        signal.setitimer(signal.ITIMER_PROF, seconds)


def confine() -> None:
    """From here on: a bounded memory, no new file, no connection, no file written, no dump of a face on the disk."""
    Image.MAX_IMAGE_PIXELS = None  # ours are far below Pillow's, which warns; `images` holds them
    with contextlib.suppress(AttributeError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks; our input ends then
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        import resource
    except ImportError:  # Windows: pixels, bytes and time are limited all the same
        return
    limits = {"RLIMIT_AS": _in_use() + MEMORY_BYTES, "RLIMIT_NOFILE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    for name, limit in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):  # macOS takes no limit of addresses
            resource.setrlimit(getattr(resource, name), (limit, limit))


def _in_use() -> int:
    """Bytes of addresses of this process; where that is not told, more than it has."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 512_000_000


def main() -> None:
    """Answer until the input ends."""
    source, answer = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    # Once with everything: what is loaded at first use could not be opened later.
    for crop in (b"", _drawn()):
        square(crop, 8)
    confine()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            what, size, n = HEAD.unpack(read_exactly(source, HEAD.size))
            parts = [read_part(source) for _ in range(n)]
            _allow(3 * CPU_S)  # a sketch of many
            made = answered(what, size, parts)
            _allow(0)
            write_parts(answer, b"", made)


def _drawn() -> bytes:
    """A small picture that needs no decoder's consent."""
    return square(b"", 16)


if __name__ == "__main__":
    main()
