#!/usr/bin/env python3
"""Draw the pictures of the demo library into facecluster/demo_faces.npz, the same ones each time.

Who is on which picture comes from `facecluster.demo`; run this again when that changes. A person keeps
hair, skin, beard, glasses and proportions; pose, mouth, eyes, clothes, light and background vary, the
last two from photo to photo. Takes about two minutes. Needs python-avatars, resvg-py and Pillow.

    scripts/draw_demo_faces.py [--sheet contact_sheet.png]
"""

from __future__ import annotations

import argparse
import io
import random
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import python_avatars as pa
import resvg_py
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facecluster import demo

SIDE = 176  # pixels: sharp on a grid on fine screens too
QUALITY = 80
MAX_BYTES = 4_500_000

SKIN = {
    "porcelain": "#f4dccb",
    "pale": "#eecbb0",
    "light": "#e3b593",
    "olive": "#d0a480",
    "tan": "#bf8d69",
    "brown": "#a06f50",
    "dark": "#83563f",
    "deep": "#654233",
}
HAIR = {
    "black": "#2a2422",
    "espresso": "#40302a",
    "brown": "#654534",
    "chestnut": "#7d4a34",
    "auburn": "#8f4630",
    "copper": "#b5592f",
    "honey": "#b98a4e",
    "blond": "#d0b06f",
    "flax": "#e0cfa4",
    "grey": "#a8a29c",
    "white": "#dedad5",
}
FABRIC = ["#7d8894", "#a8a094", "#5f6b62", "#b49a86", "#8b7f92", "#d5cdbf", "#4e5560", "#a4574a", "#3f6075", "#c99b4f"]

# skin, hair or hat, its colour, then what there is of: beard, glasses, earrings, freckles, lines (of age).
# Neighbours share a skin because they are handed out family by family.
LOOKS = """
porcelain CURLY auburn freckles
porcelain SHORT_WAVED copper freckles
porcelain BUN blond earrings
porcelain SHORT_FLAT honey BEARD_LIGHT
porcelain BIG_HAIR copper
porcelain SIDES white PRESCRIPTION_2 lines
pale LONG_NOT_TOO_LONG flax
pale SHORT_ROUND brown BEARD_MEDIUM
pale MOWGLI blond freckles
pale BOB grey PRESCRIPTION_1 lines earrings
pale QUIFF chestnut
pale LOOSE_HAIR honey
pale NONE brown BEARD_MEDIUM
pale PIXIE blond ROUND
pale MIA_WALLACE black
pale WILD white EINSTEIN_MOUSTACHE lines
pale STRAIGHT_1 chestnut freckles
pale SHAGGY honey
light CAESAR espresso BEARD_LIGHT
light BUN grey ROUND lines
light CURVY brown
light POMPADOUR espresso
light SHAGGY_MULLET auburn
light SHORT_FLAT black PRESCRIPTION_2
light LONG_HAIR_CURLY chestnut earrings
light FRIZZLE brown MOUSTACHE_FANCY
light HIJAB #8fa79a
light EINSTEIN_HAIR grey BEARD_MEDIUM lines
light HALF_SHAVED copper earrings
light BUZZCUT blond
light STRAIGHT_STRAND espresso PRESCRIPTION_1
light SIDES grey MOUSTACHE_MAGNUM lines
light BRIDE blond
light WICK brown WICK_BEARD
olive BOB black
olive SHORT_CURLY black BEARD_LIGHT
olive CURLY_2 espresso earrings
olive CAESAR_SIDE_PART grey PRESCRIPTION_2 lines
olive MIA_WALLACE chestnut ROUND
olive SHORT_WAVED black
olive HIJAB #7b6a94
olive NONE black MOUSTACHE_MAGNUM lines
olive LONG_NOT_TOO_LONG black freckles
olive QUIFF black BEARD_MEDIUM
olive BUN black earrings
tan STRAIGHT_1 black
tan SHAGGY black
tan CURLY black ROUND
tan SHORT_FLAT espresso MOUSTACHE_FANCY
tan PIXIE white lines earrings
tan TURBAN #a8574c BEARD_MAGESTIC
tan LOOSE_HAIR black earrings
tan BUZZCUT black BEARD_LIGHT PRESCRIPTION_2
tan BRAIDS espresso
brown STRAIGHT_STRAND black earrings
brown POMPADOUR black BEARD_MEDIUM
brown DREADS black
brown SHORT_DREADS_2 black
brown BIG_HAIR espresso
brown NONE grey BEARD_LIGHT ROUND lines
dark FRO black BEARD_LIGHT
dark TWIST_LONG_HAIR black earrings
dark SHORT_DREADS_1 black
dark FRO_BAND black
dark CORNROWS black
deep SHORT_CURLY black MOUSTACHE_MAGNUM
deep BOB black earrings
deep CAESAR white BEARD_MEDIUM lines
deep DREADLOCKS black
deep CURLY espresso PRESCRIPTION_1
""".strip().splitlines()

# What a relative might wear instead: close, but not the same.
ALIKE = {
    "CURLY": "FRO",
    "BUN": "PIXIE",
    "BOB": "MIA_WALLACE",
    "QUIFF": "POMPADOUR",
    "SHAGGY": "MOWGLI",
    "SHORT_FLAT": "SHORT_ROUND",
    "SHORT_WAVED": "SHORT_FLAT",
    "SHORT_ROUND": "SHORT_FLAT",
    "LOOSE_HAIR": "CURVY",
    "CURVY": "LOOSE_HAIR",
    "STRAIGHT_1": "LONG_NOT_TOO_LONG",
    "LONG_NOT_TOO_LONG": "STRAIGHT_STRAND",
    "STRAIGHT_STRAND": "LONG_NOT_TOO_LONG",
}

MOUTHS = ["SMILE"] * 6 + ["TWINKLE"] * 5 + ["BIG_SMILE"] * 3 + ["DEFAULT"] * 3 + ["SERIOUS"] * 2 + ["DISBELIEF"]
EYES = ["DEFAULT"] * 12 + ["HAPPY"] * 4 + ["SIDE"] * 2 + ["CLOSED", "WINK"]
BROWS = [
    "DEFAULT_NATURAL",
    "DEFAULT_NATURAL",
    "DEFAULT",
    "RAISED_EXCITED_NATURAL",
    "FLAT_NATURAL",
    "UP_DOWN_NATURAL",
]
CLOTHES = [
    "SHIRT_CREW_NECK",
    "COLLAR_SWEATER",
    "SHIRT_V_NECK",
    "BLAZER_SHIRT",
    "HOODIE",
    "SHIRT_SCOOP_NECK",
    "BLAZER_SWEATER",
    "OVERALL",
]

# Top, bottom, and the colours of what is out of focus.
SCENES = {
    "wall": ("#dccfbd", "#b8a48c", ["#e9dfd0", "#a8937a", "#c9b8a2"]),
    "room": ("#b89f86", "#7c6652", ["#e2bf8a", "#8a7460", "#5f4d3f"]),
    "sky": ("#a9c5d8", "#dfe6e4", ["#f1f1ec", "#c7d8e0", "#94b3c8"]),
    "leaves": ("#9fb487", "#5f7a54", ["#c5d49c", "#4d6647", "#7f9a68"]),
    "autumn": ("#c9a46c", "#8a5f3d", ["#e3c07e", "#a5673c", "#6f5a3c"]),
    "street": ("#b9bcc0", "#84848a", ["#d9d6d0", "#6d7078", "#a79a8e"]),
    "evening": ("#6b6876", "#4a4550", ["#e4b676", "#8a7a80", "#b98a62"]),
    "sea": ("#c2d6dc", "#7fa3ad", ["#e6ecea", "#5f8b99", "#d8c7a4"]),
}


@dataclass(frozen=True)
class Look:
    """What a person keeps from picture to picture."""

    skin: str
    top: str
    colour: str
    beard: str
    glasses: str
    marks: frozenset[str]
    nose: str
    eye_drop: float  # avatar units, as are the next two
    eye_gap: float
    mouth_drop: float
    width: float  # of the head, 1 is the usual


@dataclass(frozen=True)
class Scene:
    """What all faces of a photo have in common."""

    name: str
    is_lit_from_left: bool
    shade: float
    tint: tuple[int, int, int]
    brightness: float


def read_look(line: str, rng: random.Random) -> Look:
    """A look from a line of the table, with proportions of its own."""
    skin, top, colour, *rest = line.split()
    beards = [word for word in rest if word in pa.FacialHairType.__members__]
    glasses = [word for word in rest if word in pa.AccessoryType.__members__]
    return Look(
        SKIN[skin],
        top,
        HAIR.get(colour, colour),
        *(beards or ["NONE"])[:1],
        *(glasses or ["NONE"])[:1],
        frozenset(rest) - {*beards, *glasses},
        rng.choice(["DEFAULT", "DEFAULT", "SMALL", "WIDE"]),
        rng.uniform(-3, 3),
        rng.uniform(0.9, 1.08),
        rng.uniform(-2.5, 3),
        rng.uniform(0.92, 1.07),
    )


def all_looks(people: demo.SyntheticFaces) -> list[Look]:
    """One look for each person: known ones from the table, family by family, strangers by chance."""
    rng = random.Random("looks")  # noqa: S311 (pictures, not secrets)
    n_known = int((people.family >= 0).sum())
    if n_known > len(LOOKS):
        raise SystemExit(f"{n_known} people but only {len(LOOKS)} looks. Add lines to LOOKS.")
    lines = sorted(rng.sample(range(len(LOOKS)), n_known))
    looks: list[Look | None] = [None] * len(people.family)
    for line, person in zip(lines, np.argsort(people.family[:n_known], kind="stable"), strict=True):
        looks[person] = read_look(LOOKS[line], rng)
    taken = {tuple(line.split()[:3]) for line in LOOKS}
    for person in range(n_known, len(looks)):
        looks[person] = stranger_look(taken, rng)
    for person in np.flatnonzero(people.kin_of >= 0):
        parent = looks[people.kin_of[person]]
        looks[person] = replace(
            parent,
            top=ALIKE.get(parent.top, parent.top),
            glasses="NONE" if parent.glasses != "NONE" else "ROUND",
            mouth_drop=parent.mouth_drop + 1,
        )
    return looks


def stranger_look(taken: set[tuple[str, ...]], rng: random.Random) -> Look:
    """Somebody like nobody so far: no skin, hair and colour of `taken`, which grows."""
    skins = list(SKIN)
    while True:
        skin, top, colour, *words = rng.choice(LOOKS).split()
        skin = skins[max(0, min(len(skins) - 1, skins.index(skin) + rng.choice([-1, 0, 1])))]
        if colour not in HAIR:
            colour = rng.choice(FABRIC)
        elif "lines" in words:
            colour = rng.choice(["grey", "white"])
        else:
            dark = ["black", "black", "espresso", "brown"]
            fair = [*dark, "chestnut", "auburn", "honey", "blond", "flax", "copper"]
            colour = rng.choice(fair if skins.index(skin) < 3 else dark)
        if (skin, top, colour) not in taken:
            break
    taken.add((skin, top, colour))
    kept = [word for word in words if word not in pa.AccessoryType.__members__ and rng.random() < 0.7]
    if rng.random() < 0.25:
        kept.append(rng.choice(["ROUND", "PRESCRIPTION_1", "PRESCRIPTION_2"]))
    return read_look(" ".join([skin, top, colour, *kept]), rng)


def photo_scene(photo: int) -> Scene:
    """The place and the light of a photo."""
    rng = random.Random(f"photo {photo}")  # noqa: S311
    name = rng.choice(list(SCENES))
    tints = [(255, 250, 242), (250, 252, 255), (255, 245, 231), (240, 245, 252), (255, 249, 244)]
    if name == "evening":
        tints = [(255, 240, 222), (255, 244, 230)]
    return Scene(name, rng.random() < 0.5, rng.uniform(0.25, 0.62), rng.choice(tints), rng.uniform(0.97, 1.1))


def marks_svg(look: Look) -> str:
    """Cheeks, freckles, lines and earrings, in the coordinates of the face."""
    parts = [f'<ellipse cx="{x}" cy="53" rx="12" ry="8" fill="#d8593f" fill-opacity="0.13"/>' for x in (15, 97)]
    if "freckles" in look.marks:
        spots = [(12, 49), (19, 47), (25, 51), (16, 54), (87, 51), (93, 47), (100, 49), (96, 54)]
        parts += [f'<circle cx="{x}" cy="{y}" r="1.5" fill="#8a4a28" fill-opacity="0.45"/>' for x, y in spots]
    if "lines" in look.marks:
        lines = [
            "M33 56 Q27 62 28 70",
            "M79 56 Q85 62 84 70",
            "M32 -8 Q56 -12 80 -8",
            "M4 33 L-2 30",
            "M108 33 L114 30",
        ]
        lines += ["M22 41 Q30 45 38 41", "M74 41 Q82 45 90 41"]
        parts += [f'<path d="{d}" fill="none" stroke="#3a1d10" stroke-opacity="0.24" stroke-width="2"/>' for d in lines]
    return "".join(parts)


EARRINGS = "".join(
    f'<circle cx="{x}" cy="141" r="4" fill="#e2b64d"/><circle cx="{x - 1}" cy="140" r="1.4" fill="#fff3cf"/>'
    for x in (72, 192)
)


def avatar_svg(look: Look, rng: random.Random) -> str:
    """The head and shoulders of a person, with today's clothes and face; 264 by 280 units."""
    is_hat = look.top in ("HIJAB", "TURBAN")
    svg = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT,
        skin_color=look.skin,
        top=pa.HatType[look.top] if is_hat else pa.HairType[look.top],
        hat_color=look.colour,
        hair_color=look.colour,
        facial_hair=pa.FacialHairType[look.beard],
        facial_hair_color=HAIR["black"] if is_hat else look.colour,
        accessory=pa.AccessoryType[look.glasses],
        nose=pa.NoseType[look.nose],
        mouth=pa.MouthType[rng.choice(MOUTHS)],
        eyes=pa.EyeType[rng.choice(EYES)],
        eyebrows=pa.EyebrowType[rng.choice(BROWS)],
        clothing=pa.ClothingType[rng.choice(CLOTHES)],
        clothing_color=rng.choice(FABRIC),
    ).render()
    # Turning the head: the face slides over it. A beard hugs the jaw, so it allows less.
    reach = 2.0 if look.beard != "NONE" else 4.5
    dx, dy = rng.uniform(-reach, reach), rng.uniform(-2.0, 2.0)
    gap = look.eye_gap

    def moved(name: str, x: float, y: float, extra: str = "") -> tuple[str, str]:
        return rf'({name}" transform=")translate\([^)]*\)', rf"\g<1>translate({x:.2f}, {y:.2f}){extra}"

    spread = f" translate(56, 0) scale({gap:.3f}, 1) translate(-56, 0)"
    for pattern, value in (
        moved("transparent_Face", 76 + dx, 82 + dy),
        moved("transparent_Mouth", 2, 52 + (look.mouth_drop if look.beard == "NONE" else 0)),
        moved("transparent_Eyes", 0, 8 + look.eye_drop, spread),
        moved("_Accessory", 62 + dx, 85 + dy + look.eye_drop, spread.replace("56", "69")),
    ):
        svg = re.sub(pattern, value, svg)
    svg = re.sub(
        r'(<g id="transparent_Eyebrow")',
        rf'\1 transform="translate(0, {look.eye_drop:.2f})"',
        svg,
    )
    svg = re.sub(r'(<g id="transparent_Face"[^>]*>)', lambda m: m[1] + marks_svg(look), svg)
    if "earrings" in look.marks:
        svg = re.sub(r'(<g id="transparent_Top">)', lambda m: EARRINGS + m[1], svg)
    return svg


def head(look: Look, rng: random.Random, n: int, is_bad_crop: bool) -> Image.Image:
    """The person as the camera saw them, n by n pixels, the background transparent."""
    svg = avatar_svg(look, rng)
    width = rng.uniform(128, 142) if is_bad_crop else rng.uniform(160, 190)
    slack = 26 if is_bad_crop else 7
    x, y = 132 + rng.uniform(-slack, slack), 112 + rng.uniform(-slack, slack) * 0.8
    tilt = max(-16.0, min(16.0, rng.gauss(0, 5)))
    flip = "translate(264, 0) scale(-1, 1)" if rng.random() < 0.35 else ""
    shape = f"translate(132, 0) scale({look.width:.3f}, 1) translate(-132, 0)"
    view = f"{x - width / 2:.2f} {y - width / 2:.2f} {width:.2f} {width:.2f}"
    svg = re.sub(
        r"<svg ([^>]*?) width=\"264px\" height=\"280px\" viewBox=\"0 0 264 280\"([^>]*)>",
        rf'<svg \1 width="{n}" height="{n}" viewBox="{view}"\2>'
        rf'<g transform="rotate({tilt:.2f} 132 150) {flip} {shape}">',
        svg,
    )
    svg = svg.rstrip().removesuffix("</svg>") + "</g></svg>"
    png = resvg_py.svg_to_bytes(svg_string=svg, width=n, height=n)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def background(scene: Scene, rng: random.Random, n: int) -> Image.Image:
    """A place out of focus."""
    top, bottom, spots = SCENES[scene.name]
    small = 96
    ramp = Image.linear_gradient("L").resize((small, small))
    image = Image.composite(Image.new("RGB", (small, small), bottom), Image.new("RGB", (small, small), top), ramp)
    draw = ImageDraw.Draw(image)
    if scene.name in ("wall", "room", "street"):
        x, wide = rng.randint(-10, 80), rng.randint(14, 34)
        draw.rectangle([x, -5, x + wide, rng.randint(40, 100)], fill=rng.choice(spots))
    for _ in range({"wall": 2, "sky": 5, "sea": 4}.get(scene.name, 12)):
        r, px, py = rng.randint(5, 18), rng.randint(0, small), rng.randint(0, small)
        stretch = 2.2 if scene.name in ("sky", "sea") else 1
        draw.ellipse([px - r * stretch, py - r, px + r * stretch, py + r], fill=rng.choice(spots))
    image = image.filter(ImageFilter.GaussianBlur(5))
    if scene.name in ("leaves", "evening", "autumn", "room"):  # lights and gaps, as round as the lens
        lights = Image.new("L", image.size, 0)
        points = ImageDraw.Draw(lights)
        for _ in range(rng.randint(3, 7)):
            r, px, py = rng.randint(3, 8), rng.randint(0, small), rng.randint(0, small)
            points.ellipse([px - r, py - r, px + r, py + r], fill=rng.randint(50, 120))
        lights = lights.filter(ImageFilter.GaussianBlur(1.5))
        image.paste(Image.new("RGB", image.size, spots[0]), (0, 0), lights)
    return image.resize((n, n), Image.Resampling.BICUBIC)


def picture(look: Look, scene: Scene, rng: random.Random, blur_score: float, is_bad_crop: bool) -> Image.Image:
    """One face of one photo."""
    n = SIDE * 2
    subject = head(look, rng, n, is_bad_crop)
    alpha = subject.getchannel("A")
    ramp = Image.linear_gradient("L").rotate(90 if scene.is_lit_from_left else 270).resize((n, n))
    shade = ramp.point(lambda v: int(max(0, v - 70) * scene.shade))
    skin = subject.convert("RGB")
    skin.paste(Image.new("RGB", (n, n), "#2a1a1c"), (0, 0), shade)
    glow = ImageChops.invert(ramp).point(lambda v: int(max(0, v - 120) * 0.22))
    skin.paste(Image.new("RGB", (n, n), "#fff4e4"), (0, 0), glow)
    image = background(scene, rng, n)
    # The shadow that a head throws on what is behind it, away from the light.
    shadow = alpha.filter(ImageFilter.GaussianBlur(n / 22)).point(lambda v: int(v * 0.3))
    image.paste(Image.new("RGB", (n, n), "#1f1814"), (n // 30 if scene.is_lit_from_left else -n // 30, n // 40), shadow)
    image.paste(skin, (0, 0), alpha)
    image = ImageChops.multiply(image, Image.new("RGB", (n, n), scene.tint))
    image = ImageEnhance.Brightness(image).enhance(scene.brightness)
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.84, 0.97))
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if blur_score < 50:
        image = image.filter(ImageFilter.GaussianBlur(2.2 + (50 - blur_score) / 18))
    return image


def encoded(image: Image.Image) -> bytes:
    """The picture as WebP, which looks better than JPEG at this size."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def contact_sheet(crops: list[bytes], order: np.ndarray, columns: int = 20) -> Image.Image:
    """Pictures side by side, in that order."""
    size = 96
    sheet = Image.new("RGB", (columns * size, -(-len(order) // columns) * size), "white")
    for place, row in enumerate(order):
        image = Image.open(io.BytesIO(crops[row])).resize((size - 2, size - 2))
        sheet.paste(image, (place % columns * size, place // columns * size))
    return sheet


def main() -> None:
    """Draw, or draw only some rows and look at them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet, person by person")
    parser.add_argument("--only", type=int, help="draw the first ones of each person, write only the sheet")
    arguments = parser.parse_args()

    people = demo.demo_people()
    blur = demo.demo_blur_scores(people)
    looks = all_looks(people)
    rows = np.argsort(people.person, kind="stable")
    if arguments.only:
        place = np.arange(len(rows)) - np.searchsorted(people.person[rows], people.person[rows])
        rows = rows[place < arguments.only]
    crops = [b""] * len(people)
    for done, row in enumerate(rows):
        rng = random.Random(f"face {row}")  # noqa: S311
        scene = photo_scene(int(people.photo[row]))
        look = looks[people.person[row]]
        crops[row] = encoded(picture(look, scene, rng, float(blur[row]), bool(people.is_bad_crop[row])))
        if done % 200 == 0:
            print(f"{done:,} of {len(rows):,} drawn", flush=True)
    print(f"{len(rows):,} pictures, {sum(map(len, crops)) / len(rows):,.0f} bytes each")
    if arguments.sheet:
        contact_sheet(crops, rows).save(arguments.sheet)
    if arguments.only:
        return
    offsets = np.cumsum([0, *map(len, crops)], dtype=np.int64)
    if offsets[-1] > MAX_BYTES:
        raise SystemExit(f"{offsets[-1]:,} bytes are too many. Nothing was written; lower QUALITY or SIDE.")
    np.savez(demo.PACK, crops=np.frombuffer(b"".join(crops), np.uint8), crop_offsets=offsets, person=people.person)
    print(f"{demo.PACK}: {demo.PACK.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
