"""R15: a picture that is a trap costs a second of a processor at most, little memory, and shows the drawn head."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from facecluster import decoding, images
from trust.measure import Found, Measure, cases

MOST_S = 1.0
MOST_BYTES = 64 * 2**20


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says what it likes of its size."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + b"".join(chunks) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


def drawn(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", seed: int = 0, **options: object) -> bytes:
    """A picture of noise, which does not compress."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], bands), np.uint8)
    out = io.BytesIO()
    Image.frombytes(mode, size, noise.tobytes()).save(out, kind, **options)
    return out.getvalue()


def flat(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    """A picture of one colour, which compresses to nothing."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def _frames(kind: str, n: int, size: tuple[int, int] = (200, 200)) -> bytes:
    out = io.BytesIO()
    rest = [Image.new("RGB", size, (k % 256, 0, 0)) for k in range(1, n)]
    Image.new("RGB", size).save(out, kind, save_all=True, append_images=rest, duration=10)
    return out.getvalue()


def _with_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _exif(data: bytes, payload: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 8) + b"Exif\0\0" + payload + data[2:]


def traps(seed: int) -> list[tuple[str, Callable[[], bytes]]]:
    """A hundred of them, by name."""
    rng = random.Random(seed)
    empty = zlib.compress(b"\0" * 20_000_000, 9)
    jpeg, small = drawn("JPEG"), drawn("PNG")
    found: list[tuple[str, Callable[[], bytes]]] = [
        ("PNG of 100,000 x 100,000", lambda: png(100_000, 100_000, empty)),
        ("PNG of 2^31 x 1", lambda: png(2**31 - 1, 1, empty)),
        ("PNG of 50,000 x 1", lambda: flat("PNG", (50_000, 1))),
        ("PNG of 1 x 50,000", lambda: flat("PNG", (1, 50_000))),
        ("JPEG of 50,000 x 1", lambda: flat("JPEG", (50_000, 1))),
        ("JPEG of 1 x 50,000", lambda: flat("JPEG", (1, 50_000))),
        ("WebP of 16,383 x 1", lambda: flat("WEBP", (16_383, 1))),
        ("PNG of no width", lambda: png(0, 10, empty)),
        ("PNG that inflates to far more than it says", lambda: png(10, 10, zlib.compress(b"\0" * 100_000_000, 9))),
        ("PNG of 2,000 x 2,000 in 20 kB", lambda: flat("PNG", (2000, 2000), "RGBA")),
        ("PNG of 2,000 x 2,000, 16 bits", lambda: flat("PNG", (2000, 2000), "I;16")),
        ("PNG of 2,001 x 2,000", lambda: flat("PNG", (2001, 2000))),
        ("WebP of 2,000 x 2,000", lambda: flat("WEBP", (2000, 2000), "RGBA")),
        ("JPEG of 2,000 x 2,000, progressive", lambda: drawn("JPEG", (2000, 2000), quality=10, progressive=True)),
        ("JPEG of four inks", lambda: drawn("JPEG", (900, 900), "CMYK")),
        ("JPEG that says 65,000 x 65,000", lambda: _with_size(jpeg, 65_000, 65_000)),
        ("JPEG that says 2,000 x 2,000", lambda: _with_size(jpeg, 2000, 2000)),
        ("JPEG of 64 kB of EXIF", lambda: _exif(jpeg, b"MM\0*" + b"\xff" * 65_000)),
        (
            "JPEG whose EXIF points at itself",
            lambda: _exif(jpeg, b"II*\0\x08\0\0\0\x01\0i\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0"),
        ),
        ("JPEG with a profile of nonsense", lambda: drawn("JPEG", icc_profile=b"\xff" * 500_000)),
        ("PNG with a profile of nonsense", lambda: drawn("PNG", icc_profile=b"\xff" * 1_000_000)),
        (
            "PNG with a profile that inflates",
            lambda: png(1, 1, b"", _chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 10**8, 9))),
        ),
        (
            "PNG with a text that inflates",
            lambda: png(1, 1, b"", _chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 10**8, 9))),
        ),
        (
            "PNG with 900 texts that inflate",
            lambda: png(1, 1, b"", *[_chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 10**6, 9))] * 900),
        ),
        ("PNG with 100,000 empty chunks", lambda: png(1, 1, b"", *[_chunk(b"tEXt", b"k\0v")] * 100_000)),
        ("PNG without an end", lambda: small[:-12]),
        ("PNG whose sums are wrong", lambda: small[:29] + b"\0\0\0\0" + small[33:]),
        ("animated WebP of 400 pictures", lambda: _frames("WEBP", 400)),
        ("animated PNG of 200 pictures", lambda: _frames("PNG", 200)),
        ("animated GIF", lambda: _frames("GIF", 50)),
        ("PNG and then HTML", lambda: small + b"<script>alert(1)</script>" * 1000),
        ("HTML and then PNG", lambda: b"<html>" + small),
        ("GIF that is JavaScript", lambda: b"GIF89a/*" + b"\0" * 20 + b"*/=1;alert(1)"),
        ("JPEG and then ZIP", lambda: jpeg + b"PK\3\4" + b"\0" * 1000),
        ("SVG", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"),
        ("SVG that opens entities", lambda: b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><svg>&a;&a;</svg>"),
        (
            "FITS",
            lambda: b"SIMPLE  =                    T".ljust(80) + b"BITPIX  = 8".ljust(80) + b"NAXIS   = 9".ljust(80),
        ),
        ("PDF", lambda: b"%PDF-1.7\n" + b"1 0 obj<<>>" * 1000),
        ("EPS", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n(%pipe%id) (w) file\n"),
        ("JPEG 2000", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff" * 1000),
        (
            "a list of GIF frames without end",
            lambda: b"GIF89a\x01\0\x01\0\0\0\0" + b",\0\0\0\0\x01\0\x01\0\0\x02\0" * 10_000,
        ),
        ("nothing", lambda: b""),
        ("one byte", lambda: b"\x89"),
        ("2 MB of zeros", lambda: b"\0" * 2_000_000),
        ("2 MB and one byte", lambda: b"\xff\xd8" + b"\0" * 2_000_000),
        ("2 MB of FF", lambda: b"\xff" * 2_000_000),
        ("JPEG of 1.9 MB of restarts", lambda: jpeg[:-2] + b"\xff\xd0" * 900_000),
        ("JPEG of many scans", lambda: jpeg[:-2] + jpeg[jpeg.index(b"\xff\xda") : -2] * 400),
        *(
            (f"a {kind}", lambda kind=kind: flat(kind, (40, 40)))
            for kind in ("TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "GIF")
        ),
    ]
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = drawn(kind)
        found += [(f"{kind} cut at {n} %", lambda d=whole, n=n: d[: len(d) * n // 100]) for n in (5, 20, 50, 80, 95)]
        found += [
            (f"{kind} of pixels read as {k}", lambda d=whole, k=k: k + d[len(k) :]) for k in (b"RIFF", b"\xff\xd8")
        ]
    while len(found) < 100:
        whole = bytearray(drawn(rng.choice(("PNG", "JPEG", "WEBP")), seed=len(found)))
        for _ in range(rng.randrange(1, 30)):
            whole[rng.randrange(len(whole))] = rng.randrange(256)
        found.append((f"bytes changed at random, {len(found)}", lambda d=bytes(whole): d))
    return found


def pictures(seed: int, seconds: float, most: int = 100, every: int = 1) -> Found:
    """Each in a decoder of its own: seconds of a processor, memory beyond what it had, and what is shown."""
    found = Found()
    slowest, largest, n_heads, head = 0.0, 0, 0, images.square(b"", 176)
    some = traps(seed)[:most][seed % every :: every]
    for n in cases(seconds, len(some)):
        name, make = some[n]
        data = make()
        decoding._pool.close()
        decoding.square(b"", 176)  # a fresh process, started
        before = _most_memory()  # 0 afterwards for one that ended over it, within its limit
        start = _processor_s()
        shown = decoding.square(data, 176)
        refused = decoding.refusals([data])[0]
        took = (_processor_s() - start) / 2  # looked at twice: to be taken in, and to be shown
        used = _most_memory() - before
        slowest, largest, n_heads = max(slowest, took), max(largest, used), n_heads + (shown == head)
        if took > MOST_S:
            found.failures.append(f"{name}: {took:.2f} s")
        if used > MOST_BYTES:
            found.failures.append(f"{name}: {used:,} bytes")
        if Image.open(io.BytesIO(shown)).size != (176, 176) or (refused and shown != head):
            found.failures.append(f"{name}: refused ({refused}), and yet shown")
        found.n += 1
    found.note = f"slowest {slowest:.2f} s, {largest / 2**20:.0f} MB, {n_heads} drawn heads"
    return found


def _processor_s() -> float:
    """What this process and its decoders took so far, those that ended too: no clock, which counts others' work."""
    me = psutil.Process()
    living = [child.cpu_times() for child in me.children() if child.is_running()]
    ended = me.cpu_times()
    return sum(one.user + one.system for one in (ended, *living)) + ended.children_user + ended.children_system


def _most_memory() -> int:
    """The most memory that the decoder ever held, in bytes; 0 where it ended over it, or where nobody tells."""
    idle = decoding._pool._idle
    status = Path(f"/proc/{idle[0].process.pid}/status") if idle else Path("/nowhere")
    try:
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


MEASURES = [Measure("R15", "A picture that is a trap harms nobody", "pictures", 100, 0.0, pictures)]
