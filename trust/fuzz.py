"""R20: whatever the bytes, what reads them ends soon, in little memory, with an answer or an error of ours."""

from __future__ import annotations

import io
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_library import faces, write_faces

from facecluster import decoding
from facecluster.config import Settings, load_settings
from facecluster.errors import FaceClusterError
from facecluster.images import crop_from_text, may_load, thumbnail_url
from facecluster.importing import read_faces
from facecluster.query_vectors import query_vectors
from trust.measure import Found, Measure, cases
from trust.pictures import drawn

MOST_S = 5.0
MOST_BYTES = 512 * 2**20
_DIMENSION = 16
# What means something to one of the readers.
_TOKENS = (
    b"\0", b"\xff", b"\n", b",", b'"', b"[", b"{", b"}", b"nan", b"1e999", b"-0", b"null", b"true", b"'descr'",
    b"'<f8'", b"'|O'", b"'<f16'", b"(1,)", b"(9999999999,)", b"PK\x03\x04", b"PK\x01\x02", b"PAR1", b"\x93NUMPY",
    b"\xff\xd8", b"\x7f\xff\xff\xff", b"\xed\xa0\x80", b"=", b";", b"id", b"vector", b"\\ud800", b"\xef\xbb\xbf",
)  # fmt: skip


def seeds(folder: Path) -> dict[str, bytes]:
    """A good one of each kind."""
    given = {key: value[:4] for key, value in faces().items()}
    rows = [
        {"id": f"f-{k}", "vector": vector.tolist(), "box": [1, 2, 3, 4]} for k, vector in enumerate(given["vectors"])
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "seed.parquet")
    npy = io.BytesIO()
    np.save(npy, given["vectors"])
    head = ",".join(["id", "vector"])
    return {
        "npz": write_faces(folder / "seed.npz", **given).read_bytes(),
        "parquet": (folder / "seed.parquet").read_bytes(),
        "csv": "\n".join([head, *(f'{r["id"]},"{r["vector"]}"' for r in rows)]).encode(),
        "jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "npy": npy.getvalue(),
        "json": json.dumps(given["vectors"].tolist()).encode(),
        "png": drawn("PNG"),
        "jpeg": drawn("JPEG"),
        "webp": drawn("WEBP"),
        "text": b"data:image/png;base64,iVBORw0KGgo=",
        "setting": b"0.35",
        "address": b"https://res.cloudinary.com/demo/image/upload/v1/a.jpg",
    }


def changed(data: bytes, rng: random.Random) -> bytes:
    """The same with bits, bytes and tokens changed, cut, doubled and put elsewhere."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(6):
            case 0 if found:
                found[at % len(found)] ^= 1 << rng.randrange(8)
            case 1:
                found[at:at] = rng.choice(_TOKENS)
            case 2:
                del found[at : at + rng.choice((1, 4, 64, 4096))]
            case 3:
                found[at:at] = found[at : at + rng.randrange(256)] * rng.choice((1, 2, 50))
            case 4:
                found[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "little")
            case _:
                found[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(found[:200_000])


def _readers(folder: Path) -> dict[str, Callable[[bytes], object]]:
    def file(ending: str) -> Callable[[bytes], object]:
        def read(data: bytes) -> object:
            path = folder / f"fuzzed.{ending}"
            path.write_bytes(data)
            return read_faces(path, _DIMENSION)

        return read

    def setting(data: bytes) -> object:
        text = data.decode("utf-8", "replace")
        name = list(Settings.model_fields)[len(data) % len(Settings.model_fields)]
        return load_settings(**{"library": folder, name: text})

    def address(data: bytes) -> object:
        text = data.decode("utf-8", "replace")
        return may_load(text, ("res.cloudinary.com",)), thumbnail_url(text)

    def picture(data: bytes) -> object:
        return decoding.square(data, 96), decoding.refusals([data])

    return {
        **{ending: file(ending) for ending in ("npz", "parquet", "csv", "jsonl")},
        **{ending: lambda data, e=ending: query_vectors(f"q.{e}", data, _DIMENSION) for ending in ("npy", "json")},  # type: ignore[misc]
        **dict.fromkeys(("png", "jpeg", "webp"), picture),
        "text": lambda data: crop_from_text(data.decode("utf-8", "replace")),
        "setting": setting,
        "address": address,
    }


def fuzzed(seed: int, seconds: float, most: int = 1_000_000) -> Found:
    """One reader after the other, each with a good one that was changed."""
    found, rng = Found(), random.Random(seed)
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        good, readers = seeds(Path(name)), _readers(Path(name))
        kinds = list(readers)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for n in cases(seconds, most):
            kind = kinds[n % len(kinds)]
            data = changed(good[kind], rng)
            start = time.monotonic()
            try:
                readers[kind](data)
            except FaceClusterError:
                pass
            except Exception as exc:  # noqa: BLE001  this is what is looked for
                found.failures.append(f"{kind}, case {n}: {type(exc).__name__}: {exc} over {data[:60]!r}")
            took = time.monotonic() - start
            slowest = max(slowest, took)
            if took > MOST_S:
                found.failures.append(f"{kind}, case {n}: {took:.1f} s")
            found.n += 1
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if used > MOST_BYTES:
        found.failures.append(f"{used:,} bytes more than before")
    found.note = (
        f"{len(kinds)} readers; slowest {slowest:.2f} s, {used / 2**20:.0f} MB more; by mutation, not by coverage"
    )
    return found


MEASURES = [
    Measure(
        "R20", "Whatever the bytes, reading them ends with an answer or a sentence", "inputs", 1_000_000, 4.0, fuzzed
    )
]
