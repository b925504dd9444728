"""A library of 60 faces in 16 dimensions with real people in it, small enough to be clustered in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facecluster.config import load_settings
from facecluster.hierarchies import Params
from facecluster.service import Service
from facecluster.wiring import open_service

SIZES = (12, 9, 8, 7, 6, 5, 4, 3)
PARAMS = Params(2, 3, 0.0, "eom", 50.0)


def faces(seed=0, strangers=6, prefix="face"):
    """Columns of an importable file: people of `SIZES` and strangers, two blurred, photos of two faces each.

    Everybody looks one way when young and another when old, and three are kin of the three largest, so that other
    parameters split and join people.
    """
    people = np.random.default_rng(7)
    centres = _unit(people.standard_normal((len(SIZES), 16)))
    centres[3:6] = _unit(centres[:3] + 0.9 * centres[3:6])
    ages = 0.45 * _unit(people.standard_normal((len(SIZES), 2, 16)))
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(SIZES)), SIZES)
    known = centres[person] + ages[person, np.arange(len(person)) % 2]
    known += 0.25 * rng.uniform(0.5, 1.5, (len(known), 1)) * _unit(rng.standard_normal(known.shape))
    vectors = _unit(np.concatenate([known, rng.standard_normal((strangers, 16))]))
    n = len(vectors)
    order = rng.permutation(n)
    blur = np.full(n, 200.0, np.float32)
    blur[order[:2]] = 10.0
    return {
        "ids": np.array([f"{prefix}-{i:03d}" for i in range(n)]),
        "vectors": vectors[order].astype(np.float32),
        "url": np.array([f"https://img.example/{prefix}/{i // 2}.jpg" for i in range(n)]),
        "folder": np.array([("2023", "2024")[i % 2] for i in range(n)]),
        "blur_score": blur,
    }


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def write_faces(path: Path, **columns) -> Path:
    np.savez(path, **(columns or faces()))
    return path


def open_library(folder: Path, user: str | None = None, **given: object) -> Service:
    """A library with these settings beside the folder's."""
    return open_service(load_settings(library=folder, **given), user)


def make_library(folder: Path, publish: bool = True) -> Service:
    """A library of these faces, clustered and published."""
    service = open_library(folder / "library")
    service.import_files([write_faces(folder / "faces.npz")])
    if publish:
        service.publish(service.plan(PARAMS), author="setup")
    return service
