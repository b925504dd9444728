"""Sidecars as exiftool reads them, and what is left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from small_library import open_library

from facecluster import cli, xmp
from facecluster.errors import InputError
from facecluster.images import FORMATS
from facecluster.model import FaceId
from facecluster.xmp import Region, is_ours, sidecar, write_sidecars

NAMES = (
    "Anna",
    'O\'Neill "the" <b>&amp;</b> ]]> <!-- --',
    "ünï 写真 👩‍👩‍👧 سارة",
    "line\nbreak\ttab",
    "bell\x07 and half \ud800",
    "&#10; %s {0} $(x)",
)


def shown(name: str) -> str:
    return name.replace("\x07", "").replace("\ud800", "")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Photos of 200 x 100 pixels: upright, turned, in a folder; one that is none."""
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    picture = Image.new("RGB", (200, 100), "#446688")
    picture.save(folder / "a.jpg")
    picture.save(folder / "2024" / "b & ü.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    (folder / "no photo.jpg").write_bytes(b"text")
    Image.new("RGB", (200, 100)).save(tmp_path / "outside.jpg")
    return folder


ROWS = [  # photo, box, person
    ("a.jpg", (20, 10, 60, 50), "Anna"),
    ("a.jpg", (150, 60, 260, 140), "Bert <b>"),  # beyond the edge
    ("a.jpg", (300, 300, 310, 310), "Anna"),  # outside
    ("2024/b & ü.png", (0, 0, 200, 100), "Anna"),
    ("turned.jpg", (1, 1, 9, 9), "Anna"),
    ("no photo.jpg", (1, 1, 9, 9), "Anna"),
    ("gone.jpg", (1, 1, 9, 9), "Anna"),
    ("../outside.jpg", (1, 1, 9, 9), "Anna"),
    ("https://img.example/a.jpg", (1, 1, 9, 9), "Anna"),
    ("nobody.jpg", (1, 1, 9, 9), ""),
    ("unplaced.jpg", None, "Bert <b>"),
]


@pytest.fixture
def service(tmp_path):
    n = len(ROWS)
    rng = np.random.default_rng(1)
    boxes = np.array([box or (np.nan,) * 4 for _, box, _ in ROWS], np.float32)
    np.savez(
        tmp_path / "faces.npz",
        ids=np.array([f"f{i:02d}" for i in range(n)]),
        vectors=rng.standard_normal((n, 8)).astype(np.float32),
        photo=np.array([photo for photo, _, _ in ROWS]),
        boxes=boxes,
    )
    service = open_library(tmp_path / "library")
    service.import_files([tmp_path / "faces.npz"])
    for name in ("Anna", "Bert <b>", ""):
        service.new_person([FaceId(f"f{i:02d}") for i, (_, _, who) in enumerate(ROWS) if who == name], name)
    return service


def by_exiftool(path: Path) -> dict[str, object]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    done = subprocess.run(
        ["exiftool", "-json", "-struct", "-charset", "UTF8", "-XMP-mwg-rs:all", str(path)],
        capture_output=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)[0]
    assert "Warning" not in found, found
    return found


def test_exiftool_reads_who_is_where(service, photos):
    done = write_sidecars(service.view(), photos)
    assert (done.written, done.regions) == (2, 3)
    found = by_exiftool(photos / "a.jpg.xmp")["RegionInfo"]
    assert found["AppliedToDimensions"] == {"W": 200, "H": 100, "Unit": "pixel"}
    regions = {r["Name"]: (r["Type"], r["Area"]) for r in found["RegionList"]}
    assert regions["Anna"] == ("Face", {"X": 0.2, "Y": 0.3, "W": 0.2, "H": 0.4, "Unit": "normalized"})
    assert regions["Bert <b>"] == ("Face", {"X": 0.875, "Y": 0.8, "W": 0.25, "H": 0.4, "Unit": "normalized"})
    whole = by_exiftool(photos / "2024" / "b & ü.png.xmp")["RegionInfo"]["RegionList"]
    assert [(r["Name"], r["Area"]["W"], r["Area"]["X"]) for r in whole] == [("Anna", 1, 0.5)]


@pytest.mark.parametrize("name", NAMES)
def test_exiftool_reads_every_name_as_it_is(tmp_path, name):
    path = tmp_path / "x.jpg.xmp"
    path.write_bytes(sidecar(4000, 3000, [Region(name, 0.5, 0.5, 0.1, 0.1)]))
    found = by_exiftool(path)["RegionInfo"]["RegionList"]
    assert [region["Name"] for region in found] == [shown(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_sidecar_is_xml_with_one_region(name):
    data = sidecar(4000, 3000, [Region(name, 0.5, 0.5, 0.1, 0.1)])
    root = ET.fromstring(data)  # noqa: S314  (our own)
    names = [v for node in root.iter() for k, v in node.attrib.items() if k.endswith("}Name")]
    assert names == [shown(name)]
    assert is_ours(data)


def test_what_cannot_be_said_for_sure_is_left_out_with_its_reason(service, photos, tmp_path):
    done = write_sidecars(service.view(), photos)
    words = "\n".join(done.left_out_in_words())
    assert sum(done.left_out.values()) == 6
    for reason in (
        "the camera was turned",
        "no JPEG, PNG or WebP",
        "3 photos have none: no photo of that name",
        "not known",
    ):
        assert reason in words
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.xmp"))
    assert written == ["photos/2024/b & ü.png.xmp", "photos/a.jpg.xmp"]


def test_sidecars_can_lie_elsewhere_than_the_photos(service, photos, tmp_path):
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    args = ["export", "--xmp", str(tmp_path / "out"), "--photos", str(photos)]
    result = CliRunner().invoke(
        cli.cli, args, catch_exceptions=False, env={"FACECLUSTER_LIBRARY": str(tmp_path / "library")}
    )
    assert result.exit_code == 0, result.output
    assert "2 sidecars with 3 faces" in result.output
    assert "another" not in result.output
    assert (tmp_path / "out" / "2024" / "b & ü.png.xmp").is_file()
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("theirs", ["another program's", "ours, and somebody added to it", "a link", "a folder"])
def test_a_sidecar_that_is_not_ours_stays(service, photos, tmp_path, theirs):
    path, kept = photos / "a.jpg.xmp", tmp_path / "elsewhere"
    kept.write_bytes(b"kept")
    if theirs == "a link":
        path.symlink_to(kept)
    elif theirs == "a folder":
        path.mkdir()
    elif theirs == "another program's":
        path.write_bytes(b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2"/>')
    else:
        write_sidecars(service.view(), photos)
        path.write_bytes(path.read_bytes().replace(b"Anna", b"Anne"))
    before = path.read_bytes() if path.is_file() else None
    done = write_sidecars(service.view(), photos)
    assert done.left_out["another program wrote their sidecar, which stays as it is"] == 1
    assert (path.read_bytes() if path.is_file() else None) == before
    assert kept.read_bytes() == b"kept"


def test_ours_is_written_anew(service, photos):
    write_sidecars(service.view(), photos)
    person = service.view().owner(FaceId("f00"))
    service.rename(person, "Anna Maria")
    done = write_sidecars(service.view(), photos)
    assert done.written == 2
    assert b"Anna Maria" in (photos / "a.jpg.xmp").read_bytes()
    assert not list(photos.rglob("*.tmp"))


def test_sidecars_are_not_written_through_a_link_out_of_the_folder(service, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "out" / "2024").symlink_to(tmp_path / "away")
    write_sidecars(service.view(), tmp_path / "out", photos)
    assert list((tmp_path / "away").iterdir()) == []


def test_without_a_folder_of_photos_nothing_is_written(service, tmp_path):
    with pytest.raises(InputError, match=r"no folder .* of photos\. Nothing was written"):
        write_sidecars(service.view(), tmp_path / "not there")


def test_only_the_head_of_a_photo_is_read(photos, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("a pixel was decoded"))
    assert xmp._size(photos / "a.jpg") == (200, 100)
    assert set(FORMATS) == {"JPEG", "PNG", "WEBP"}
