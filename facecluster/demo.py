"""Faces of nobody: made-up vectors that behave like real ones, and the library a newcomer starts with.

Isotropic noise is far too easy to cluster, so `synthetic_faces` follows what was measured on real ArcFace
vectors: the spectra, how photos of one person differ, sizes with a heavy tail, strangers, kin, bad crops,
and families who are photographed together. `demo_faces` is one such album with drawn pictures; they lie in
`demo_faces.npz` beside this file and are made by `scripts/draw_demo_faces.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facecluster.model import FaceBatch

Style = Literal["album", "crowd"]
Progress = Callable[[float, str], None]

DIMENSION = 512
BLOCK = 8192  # faces made at once, so that memory stays at the result and a few MiB
MAX_FACES_IN_PHOTO = 4

PACK = Path(__file__).with_name("demo_faces.npz")
DEMO_FACES = 1200
DEMO_SEED = 52
DEMO_BLURRED = 18  # 1.5 %
DEMO_PHOTO_SIZE = (1600, 1200)
FEASTS = (
    "New Year 2018",
    "Spring wedding 2019",
    "Summer garden party 2020",
    "Grandma's 80th birthday 2022",
    "Street festival 2023",
)
TRIPS = (
    "Lake Garda 2017",
    "Christmas 2017",
    "Baltic coast 2018",
    "Winter walks 2019",
    "Lisbon 2019",
    "Garden 2020",
    "Mountain hut 2021",
    "Sunday picnics 2021",
    "Copenhagen 2022",
    "Apple harvest 2022",
    "First day of school 2023",
    "Cycling the Danube 2024",
)

# What was measured on real vectors: the share of the variance that lies within one person, the length of
# the mean vector, the spread of that noise over people and over photos, and how much of their parent kin have.
WITHIN = 0.428
MEAN_NORM = 0.094
PERSON_SPREAD = 0.15
PHOTO_SPREAD = 0.23
KIN_SHARED, KIN_OWN = 0.72, 0.69
BAD_CROP_SHARE = 0.004
BAD_CROP_FACTOR = 2.5


@dataclass(frozen=True)
class _Law:
    """What differs between an album, a crowd and the demo."""

    stranger_share: float  # of the faces
    mean_size: float  # faces of a person who is no stranger
    kin_share: float = 0.02  # of the people who are no strangers


_LAWS: dict[Style, _Law] = {
    "album": _Law(stranger_share=0.18, mean_size=40.0),
    "crowd": _Law(stranger_share=0.40, mean_size=8.5),
}
_DEMO_LAW = _Law(stranger_share=0.13, mean_size=15.6, kin_share=0.045)


@dataclass(frozen=True)
class SyntheticFaces:
    """Made-up faces with their truth, ordered by photo.

    Attributes
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, 512), unit rows.
    person : NDArray[np.int32]
        Shape (n_faces,). The true person, 0 the one with most faces; strangers come last, each with a
        number of its own and one or two photos.
    photo : NDArray[np.int32]
        Shape (n_faces,), ascending. Never twice one person, at most four faces.
    is_bad_crop : NDArray[np.bool_]
        Shape (n_faces,). Noisier than the others by far.
    family : NDArray[np.int32]
        Shape (n_people,). People of one family are photographed together; -1 for strangers.
    kin_of : NDArray[np.int32]
        Shape (n_people,). The person someone takes after, -1 for most.
    """

    vectors: NDArray[np.float32]
    person: NDArray[np.int32]
    photo: NDArray[np.int32]
    is_bad_crop: NDArray[np.bool_]
    family: NDArray[np.int32]
    kin_of: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.person)


def synthetic_faces(n_faces: int, seed: int = 0, style: Style = "album") -> SyntheticFaces:
    """Faces with the statistics of real ones: few people with many photos each, or many with few.

    Parameters
    ----------
    n_faces : int
        At least 1. 100,000 take a few seconds.
    seed : int
        The same seed gives the same faces on one machine; who is in which photo, on every machine.
    style : {"album", "crowd"}
        An album: 40 photos of a person on average, 18 % of the faces strangers. A crowd: 8.5, and 40 %.
    """
    if n_faces < 1:
        raise ValueError(f"n_faces is {n_faces}, must be at least 1.")
    return _synthetic(n_faces, seed, _LAWS[style])


def demo_people() -> SyntheticFaces:
    """Who is on which picture of the demo library, row by row, with the vectors."""
    return _synthetic(DEMO_FACES, DEMO_SEED, _DEMO_LAW)


def demo_truth() -> NDArray[np.int32]:
    """Shape (1200,): the true person of each row of `demo_faces`."""
    return demo_people().person


def demo_blur_scores(faces: SyntheticFaces) -> NDArray[np.float32]:
    """Shape (n_faces,): a variance of the Laplacian for each picture; below 50 it is drawn blurred."""
    rng = _generator(DEMO_SEED, 2)
    scores = np.maximum(rng.lognormal(6.0, 0.5, len(faces)), 70.0)
    order = rng.permutation(len(faces))
    blurred = order[np.argsort(~faces.is_bad_crop[order], kind="stable")][:DEMO_BLURRED]
    scores[blurred] = rng.uniform(12.0, 46.0, len(blurred))
    return scores.astype(np.float32)


def demo_faces(progress: Progress | None = None) -> FaceBatch:
    """Drawn faces of about 60 people and some strangers, ready to be imported.

    Parameters
    ----------
    progress : Callable[[float, str], None] | None
        Is told the share that is done, in [0, 1], and what happens now.
    """
    tell = progress or (lambda _share, _text: None)
    tell(0.0, "Inventing the people of the demo library")
    faces = demo_people()
    tell(0.7, "Opening their pictures")
    with np.load(PACK, allow_pickle=False) as pack:
        raw, offsets = pack["crops"].tobytes(), pack["crop_offsets"]
    crops = tuple(raw[a:b] for a, b in pairwise(offsets))
    folders = _demo_folders(faces)
    tell(1.0, f"{len(faces):,} faces of the demo library")
    return FaceBatch(
        ids=tuple(f"face-{row:04d}" for row in range(1, len(faces) + 1)),
        vectors=faces.vectors,
        photo=tuple(f"{folder}/IMG_{photo + 1:04d}.jpg" for folder, photo in zip(folders, faces.photo, strict=True)),
        url=("",) * len(faces),
        folder=folders,
        blur_score=demo_blur_scores(faces),
        boxes=_demo_boxes(faces.photo),
        crops=crops,
        crop_urls=("",) * len(faces),
    )


def _generator(seed: int, stream: int) -> np.random.Generator:
    """One stream for each purpose: a change to the vectors must not move a face to another photo."""
    return np.random.Generator(np.random.PCG64([seed, stream]))


def _synthetic(n_faces: int, seed: int, law: _Law) -> SyntheticFaces:
    rng = _generator(seed, 0)
    sizes, n_known = _sizes(n_faces, law, rng)
    family, kin_of = _families(len(sizes), n_known, law, rng)
    photo = _photos(sizes, n_known, family, kin_of, rng)
    order = np.argsort(photo, kind="stable")
    person = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
    is_bad_crop = np.zeros(n_faces, np.bool_)
    is_bad_crop[rng.choice(n_faces, round(BAD_CROP_SHARE * n_faces), replace=False)] = True
    vectors = _vectors(person, is_bad_crop, kin_of, _generator(seed, 1))
    return SyntheticFaces(vectors, person, photo[order], is_bad_crop, family, kin_of)


def _sizes(n_faces: int, law: _Law, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Faces of each person, strangers last, and how many people are none."""
    # Zipf and Mandelbrot's law of ranks on top of three photos each.
    n_in_people = round(n_faces * (1.0 - law.stranger_share))
    n_known = min(round(n_in_people / law.mean_size) or 1, n_in_people // 3)
    if n_known:
        rank = np.arange(n_known)
        share = 1.0 / (rank + 6.0) - 0.999 / (n_known + 6.0)
        known = 3 + np.floor((n_in_people - 3 * n_known) * share / share.sum()).astype(np.int64)
        known[: n_in_people - known.sum()] += 1
    else:
        known = np.zeros(0, np.int64)
    n_in_strangers = n_faces - int(known.sum())
    # One stranger in five occurs twice.
    strangers = 1 + (rng.random(n_in_strangers) < 0.2).astype(np.int64)
    strangers = strangers[: np.searchsorted(strangers.cumsum(), n_in_strangers) + 1]
    if len(strangers):
        strangers[-1] -= strangers.sum() - n_in_strangers
    return np.concatenate([known, strangers]), n_known


def _families(
    n_people: int, n_known: int, law: _Law, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Family of each person, and whom kin take after: the first of their family."""
    family = np.full(n_people, -1, np.int32)
    kin_of = np.full(n_people, -1, np.int32)
    if n_known == 0:
        return family, kin_of
    members = rng.permutation(n_known)
    starts = rng.choice(MAX_FACES_IN_PHOTO, n_known, p=[0.2, 0.3, 0.25, 0.25]).cumsum() + np.arange(n_known)
    number = np.searchsorted(starts, np.arange(n_known))
    family[members] = number
    first = members[np.searchsorted(number, number)]
    others = np.flatnonzero(first != members)
    n_kin = min(len(others), round(law.kin_share * n_known))
    chosen = rng.choice(others, n_kin, replace=False) if n_kin else others[:0]
    kin_of[members[chosen]] = first[chosen]
    return family, kin_of


def _photos(
    sizes: NDArray[np.int64],
    n_known: int,
    family: NDArray[np.int32],
    kin_of: NDArray[np.int32],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Photo of each face, the faces in order of their person."""
    starts = np.concatenate([[0], sizes.cumsum()])
    n_in_people = int(starts[n_known])
    photo = np.empty(int(starts[-1]), np.int64)
    by_family = np.argsort(family[:n_known], kind="stable")
    cuts = np.flatnonzero(np.diff(family[by_family])) + 1
    photo_family: list[NDArray[np.int64]] = []
    n_photos = 0
    for number, members in enumerate(np.split(by_family, cuts) if n_known else []):
        # A family has so many moments; everyone is in as many as they have photos, and kin wish to be
        # where the one they take after is.
        n_moments = max(int(sizes[members].max()), int(sizes[members].sum() / 1.8))
        wishes: dict[int, NDArray[np.float64]] = {}
        for person in sorted(members.tolist(), key=lambda one: bool(kin_of[one] >= 0)):
            wish = rng.random(n_moments)
            parent = int(kin_of[person])
            wishes[person] = 0.4 * wish + wishes[parent] if parent >= 0 else wish
            chosen = np.argsort(wishes[person], kind="stable")[: sizes[person]]
            photo[starts[person] : starts[person + 1]] = n_photos + chosen
        photo_family.append(np.full(n_moments, number))
        n_photos += n_moments
    photo[n_in_people:] = n_photos + np.arange(len(photo) - n_in_people)
    owner = np.concatenate([*photo_family, np.full(len(photo) - n_in_people, -1)])
    photo = _shared_photos(photo, n_in_people, owner, rng)
    # Numbers without gaps, in no order that tells who is in the photo.
    _, dense = np.unique(photo, return_inverse=True)
    return rng.permutation(int(dense.max()) + 1)[dense].astype(np.int32)


def _shared_photos(
    photo: NDArray[np.int64], n_in_people: int, owner: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Put most strangers into a family's photo, and one family in ten into another's."""
    count = np.bincount(photo, minlength=len(owner))
    free = rng.permutation(np.flatnonzero((count > 0) & (count < MAX_FACES_IN_PHOTO) & (owner >= 0)))
    strangers = rng.permutation(np.arange(n_in_people, len(photo)))
    n_joined = min(round(0.8 * len(strangers)), len(free) // 2)
    # Each photo takes one stranger, so nobody comes to be twice in a photo.
    photo[strangers[:n_joined]] = free[:n_joined]
    free = free[n_joined : n_joined + len(free) // 5 * 2]
    hosts, guests = free[0 : len(free) // 2 * 2 : 2], free[1::2]
    fits = (count[hosts] + count[guests] <= MAX_FACES_IN_PHOTO) & (owner[hosts] != owner[guests])
    moved = np.arange(len(owner))
    moved[guests[fits]] = hosts[fits]
    return moved[photo]


def _spectrum(scale: float, power: float, rank: int) -> NDArray[np.float32]:
    """Standard deviations along the axes, their squares summing to 1."""
    axis = np.arange(rank)
    variance = np.exp(-((axis / scale) ** power))
    deviation: NDArray[np.float32] = np.sqrt(variance / variance.sum()).astype(np.float32)
    return deviation


def _vectors(
    person: NDArray[np.int32],
    is_bad_crop: NDArray[np.bool_],
    kin_of: NDArray[np.int32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Shape (n_faces, 512): a centre for each person, and around it what differs between photos."""
    # Eigenvalues follow exp(-(axis / scale) ** power) up to a rank: a law with three constants, fitted to
    # eigenvalues measured on real ArcFace vectors (5 % of the variance lies elsewhere).
    between = _spectrum(scale=81.0, power=0.82, rank=300) * np.float32(np.sqrt(1.0 - WITHIN))
    within = _spectrum(scale=151.0, power=1.04, rank=340)
    axes = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0].T.astype(np.float32)
    mean = rng.standard_normal(DIMENSION).astype(np.float32)
    mean *= np.float32(MEAN_NORM) / np.linalg.norm(mean)

    n_people = len(kin_of)
    centres = np.empty((n_people, DIMENSION), np.float32)
    for start in range(0, n_people, BLOCK):
        block = centres[start : start + BLOCK]
        block[:] = rng.standard_normal((len(block), len(between)), np.float32) * between @ axes[: len(between)]
    centres += mean
    kin = np.flatnonzero(kin_of >= 0)
    centres[kin] = np.float32(KIN_SHARED) * centres[kin_of[kin]] + np.float32(KIN_OWN) * centres[kin]
    centres *= np.float32(np.sqrt(1.0 - WITHIN)) / np.linalg.norm(centres, axis=1, keepdims=True)

    spread = PERSON_SPREAD * rng.standard_normal(n_people)[person]
    spread += PHOTO_SPREAD * rng.standard_normal(len(person))
    noise = np.exp(spread - PERSON_SPREAD**2 - PHOTO_SPREAD**2)  # root mean square 1
    noise[is_bad_crop] *= BAD_CROP_FACTOR
    noise *= np.sqrt(WITHIN)

    vectors = np.empty((len(person), DIMENSION), np.float32)
    for start in range(0, len(person), BLOCK):
        rows = slice(start, min(start + BLOCK, len(person)))
        block = rng.standard_normal((rows.stop - start, len(within)), np.float32)
        block *= within * noise[rows, None].astype(np.float32)
        vectors[rows] = block @ axes[: len(within)] + centres[person[rows]]
        vectors[rows] /= np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    return vectors


def _demo_folders(faces: SyntheticFaces) -> tuple[str, ...]:
    """Folder of each face: a feast where two families meet, else one of the family's trips."""
    rng = _generator(DEMO_SEED, 3)
    n_photos = int(faces.photo[-1]) + 1
    family = faces.family[faces.person]
    lowest, highest = np.full(n_photos, len(faces), np.int64), np.full(n_photos, -1, np.int64)
    np.minimum.at(lowest, faces.photo[family >= 0], family[family >= 0])
    np.maximum.at(highest, faces.photo[family >= 0], family[family >= 0])
    pick = rng.integers(4, size=n_photos)
    names = [
        FEASTS[few % len(FEASTS)] if many > low or many < 0 else TRIPS[(low * 5 + few) % len(TRIPS)]
        for low, many, few in zip(lowest.tolist(), highest.tolist(), pick.tolist(), strict=True)
    ]
    return tuple(names[photo] for photo in faces.photo)


def _demo_boxes(photo: NDArray[np.int32]) -> NDArray[np.float32]:
    """Shape (n_faces, 4): the faces of a photo side by side, each in a column of its own."""
    rng = _generator(DEMO_SEED, 4)
    width, height = DEMO_PHOTO_SIZE
    count = np.bincount(photo)[photo]
    column = np.arange(len(photo)) - np.searchsorted(photo, photo)
    slot = width / count
    side = np.minimum(slot * rng.uniform(0.55, 0.85, len(photo)), height * 0.4).round()
    left = (slot * column + (slot - side) * rng.uniform(0.1, 0.9, len(photo))).round()
    top = ((height - side) * rng.uniform(0.15, 0.5, len(photo))).round()
    return np.stack([left, top, left + side, top + side], axis=1).astype(np.float32)
