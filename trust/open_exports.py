"""R22, by way of open formats: random libraries exported and made again, and exports with any byte broken."""

from __future__ import annotations

import shutil

import numpy as np

from facecluster.config import load_settings
from facecluster.errors import InputError
from facecluster.model import UserId
from facecluster.open_export import export_all
from facecluster.open_import import import_library
from facecluster.wiring import open_service
from trust.measure import Found, Measure, cases
from trust.restoring import folder

_USER = UserId("anna")


def exported_again(seed: int, seconds: float, most: int | None = None) -> Found:
    """A random library out and in again: the same hash, vectors and pictures; then broken byte by byte."""
    import whole_library as wl

    found, n_broken, n_harmless = Found(), 0, 0
    for n in cases(seconds, most):
        rng = np.random.default_rng([seed, n])
        with folder() as place:
            wl.fill(place / "library", int(rng.integers(2**31)))
            service = open_service(load_settings(library=place / "library"), _USER)
            export_all(_USER, service.view(), service.contents(), service.crop, place / "out")
            import_library(place / "out", place / "new", UserId("bert"))
            found.n += 1
            if wl.hash_of(place / "new", "bert") != wl.hash_of(place / "library"):
                found.failures.append(f"seed {seed}, library {n}: another hash")
            if wl.pictures_in(place / "new", "bert") != wl.pictures_in(place / "library"):
                found.failures.append(f"seed {seed}, library {n}: other pictures")
            files = sorted(path for path in (place / "out").rglob("*") if path.is_file() and path.name != "README.md")
            for k in range(10):
                path = files[int(rng.integers(len(files)))] if k % 2 else place / "out" / "export.json"
                data = path.read_bytes()
                at = int(rng.integers(len(data)))
                path.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :])
                n_broken += 1
                wrong = ""
                try:
                    import_library(path.parents[0 if path.parent.name == "out" else 2], place / "broken", _USER)
                except InputError:
                    wrong = (
                        "something was left"
                        if (place / "broken" / "users").exists() and any((place / "broken" / "users").iterdir())
                        else ""
                    )
                except Exception as exc:  # noqa: BLE001  what is not ours is a failure to say it in one sentence
                    wrong = f"{type(exc).__name__}: {exc}"
                else:
                    n_harmless += 1
                    wrong = "" if wl.hash_of(place / "broken") == wl.hash_of(place / "library") else "another library"
                if wrong:
                    found.failures.append(f"seed {seed}, library {n}, byte {at} of {path.name}: {wrong}")
                path.write_bytes(data)
                shutil.rmtree(place / "broken", ignore_errors=True)
    found.note = f"{n_broken:,} of them broken in a byte: {n_broken - n_harmless:,} refused, the others whole"
    return found


MEASURES = [
    Measure(
        "R22e",
        "An export in open formats becomes the same library again; a broken one changes nothing",
        "libraries",
        1_000,
        2,
        exported_again,
    ),
]
