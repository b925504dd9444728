"""Pictures from outside: which addresses a browser may load, and what broken bytes become."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from facecluster.errors import InputError
from facecluster.images import (
    FaceInPhoto,
    checked_crop,
    crop_from_text,
    decoded,
    face_in_photo_url,
    may_load,
    photo_sketch,
    placeholder,
    secured,
    square,
    thumbnail_url,
)

HOSTS = ("res.cloudinary.com", "photos.example.org")


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red" if mode == "RGB" else None).save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    "url",
    [
        "https://photos.example.org/a.jpg",
        "https://PHOTOS.example.org/a.jpg?w=1#x",
        "https://photos.example.org:443/a.jpg",
        "HTTPS://photos.example.org/",
    ],
)
def test_an_https_address_of_an_allowed_host_may_be_loaded(url):
    assert may_load(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.jpg",
        "http://photos.example.org/a.jpg",
        "//photos.example.org/a.jpg",
        "https:photos.example.org/a.jpg",
        "https:///photos.example.org/a.jpg",
        "https://user@photos.example.org/a.jpg",
        "https://user:pw@photos.example.org/a.jpg",
        "https://:pw@photos.example.org/a.jpg",
        "https://@photos.example.org/a.jpg",
        "https://photos.example.org@evil.example/a.jpg",
        "https://photos.example.org:8443/a.jpg",
        "https://photos.example.org:99999/a.jpg",
        "https://photos.example.org:x/a.jpg",
        "https://photos.example.org.evil.example/a.jpg",
        "https://evilphotos.example.org/a.jpg",
        "https://evil.example/photos.example.org/a.jpg",
        "https://evil.example/?photos.example.org",
        "https://photos.example.org\\.evil.example/a.jpg",
        "https://evil.example\\@photos.example.org/a.jpg",
        "https://photos.example.org./a.jpg",
        "https://ph\u043etos.example.org/a.jpg",
        "https://photos\u3002example\u3002org/a.jpg",
        "https://photos.example.org\u2100/a.jpg",
        "https://xn--phtos-jye.example.org/a.jpg",
        "https://[photos.example.org]/a.jpg",
        "https://[::1/a.jpg",
        "javascript:alert(1)//photos.example.org",
        "javascript://photos.example.org/%0aalert(1)",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "file://photos.example.org/etc/passwd",
        "ftp://photos.example.org/a.jpg",
        "https://127.0.0.1/a.jpg",
    ],
)
def test_any_other_address_may_not_be_loaded(url):
    assert not may_load(url, HOSTS)


@pytest.mark.parametrize("mark", ["\t", "\n", "\r", "\\", "\x00", "\x7f"])
def test_an_address_with_a_mark_that_browsers_read_otherwise_is_not_loaded(mark):
    assert not may_load(f"https://photos.example.org/{mark}a.jpg", HOSTS)
    assert not may_load(f"{mark}https://photos.example.org/a.jpg", HOSTS)


def test_with_no_host_allowed_nothing_may_be_loaded():
    assert not may_load("https://photos.example.org/a.jpg", ())


def test_cloudinary_cuts_the_face_out():
    url = "https://res.cloudinary.com/demo/image/upload/v1/upload/a.jpg"
    assert thumbnail_url(url) == (
        "https://res.cloudinary.com/demo/image/upload/c_thumb,g_face,w_200,h_200/v1/upload/a.jpg"
    )
    assert thumbnail_url("https://res.cloudinary.com/demo/fetch/a.jpg").endswith("/demo/fetch/a.jpg")
    other = "https://photos.example.org/upload/a.jpg"
    assert thumbnail_url(other) == other


PHOTO = "https://res.cloudinary.com/demo/image/upload/v17/a.jpg"
CUT = "https://res.cloudinary.com/demo/image/upload/{}/v17/a.jpg"


@pytest.mark.parametrize(
    ("box", "n_faces", "change"),
    [
        (None, 1, "c_thumb,g_face,w_200,h_200"),
        (None, 2, "c_thumb,g_faces,w_200,h_200"),  # the largest face would be somebody else's
        ((10.0, 20.0, 110.0, 140.0), 2, "c_crop,x_10,y_20,w_100,h_120/c_limit,w_200,h_200"),
        ((10.6, 20.2, 109.4, 139.1), 1, "c_crop,x_10,y_20,w_100,h_120/c_limit,w_200,h_200"),
        ((-5.0, -5.0, 95.0, 115.0), 1, "c_crop,x_0,y_0,w_95,h_115/c_limit,w_200,h_200"),
        ((110.0, 20.0, 10.0, 140.0), 1, "c_thumb,g_face,w_200,h_200"),  # boxes that cannot be
        ((0.0, 0.0, 1e30, 10.0), 1, "c_thumb,g_face,w_200,h_200"),
        ((float("nan"), 0.0, 10.0, 10.0), 1, "c_thumb,g_face,w_200,h_200"),
    ],
)
def test_a_face_is_cut_out_of_a_photo_at_cloudinary_by_its_box_or_by_detection(box, n_faces, change):
    assert face_in_photo_url(PHOTO, box, n_faces) == CUT.format(change)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("a.jpg", "T/a.jpg"),
        ("folder/v2/a.jpg", "T/folder/v2/a.jpg"),  # a folder named like a version
        ("w_900,q_auto/v3/a.jpg", "w_900,q_auto/T/v3/a.jpg"),  # boxes are of what the address shows
        ("w_900/e_sepia/v3/f/a.jpg?x=1", "w_900/e_sepia/T/v3/f/a.jpg?x=1"),
    ],
)
def test_a_change_comes_after_those_an_address_has(rest, expected):
    base = "https://me.cloudinary.com/demo/image/upload/"
    assert thumbnail_url(base + rest) == base + expected.replace("T", "c_thumb,g_face,w_200,h_200")


@pytest.mark.parametrize(
    "url",
    [
        "https://photos.example.org/upload/a.jpg",
        "https://res.cloudinary.com.evil.example/demo/image/upload/a.jpg",
        "https://evilcloudinary.com/demo/image/upload/a.jpg",
        "https://res.cloudinary.com/demo/image/fetch/https://a.b/c.jpg",
        "https://res.cloudinary.com/demo/image/upload/s--Ab3dE6gH--/v1/a.jpg",  # signed: changed, it would be refused
        "https://[res.cloudinary.com/upload/",
        "/upload/a.jpg",
        "",
    ],
)
def test_no_face_is_cut_out_where_the_host_would_not_do_it(url):
    assert face_in_photo_url(url, (0.0, 0.0, 10.0, 10.0)) == ""
    assert thumbnail_url(url) == url


def test_only_cloudinary_is_asked_by_https_where_the_data_says_http():
    assert secured(PHOTO.replace("https", "http")) == PHOTO
    assert secured("HTTP://res.cloudinary.com/a.jpg") == "https://res.cloudinary.com/a.jpg"
    for url in (PHOTO, "http://photos.example.org/a.jpg", "http://[::1", "", "ftp://res.cloudinary.com/a.jpg"):
        assert secured(url) == url


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_three_formats_are_taken_byte_for_byte(kind):
    data = picture(kind)
    assert checked_crop(data) == data
    assert crop_from_text(f" {base64.b64encode(data).decode()}\n") == (data, "")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_no_other_decoder_is_reached(kind):
    with pytest.raises(InputError, match="no JPEG, PNG or WebP"):
        checked_crop(picture(kind, size=(16, 16)))


def test_nothing_at_all_is_no_picture_and_no_address():
    assert crop_from_text("  ") == (b"", "")


@pytest.mark.parametrize("data", [b"", b"no picture", picture()[:30], picture("JPEG")[:-40], picture("WEBP")[:-20]])
def test_broken_bytes_become_the_placeholder(data):
    shown, drawn = (np.asarray(opened(square(d, 40)), np.int16) for d in (data, b""))
    assert np.abs(shown - drawn).mean() < 3  # drawn at another size and shrunk, so not bit for bit


def test_bytes_changed_at_random_never_raise():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8))
    for kind in ("PNG", "JPEG", "WEBP"):
        out = io.BytesIO()
        noise.save(out, kind)
        for _ in range(60):
            data = bytearray(out.getvalue())
            for place in rng.integers(0, len(data), 4):
                data[place] = rng.integers(256)
            assert opened(square(bytes(data), 16)).size == (16, 16)


def test_a_picture_is_shrunk_within_the_size_and_never_grown():
    assert decoded(picture(size=(400, 200)), 100).size == (100, 50)
    assert decoded(picture(size=(40, 20)), 100).size == (40, 20)
    assert decoded(picture(size=(40, 20))).size == (40, 20)


@pytest.mark.parametrize(
    ("mode", "options"), [("RGBA", {}), ("LA", {}), ("L", {}), ("P", {"transparency": b"\0" * 256})]
)
def test_transparent_and_grey_pictures_become_plain_ones(mode, options):
    assert decoded(picture(mode=mode, **options)).mode == "RGB"


def test_a_square_is_the_middle_of_the_picture():
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    out = io.BytesIO()
    image.save(out, "PNG")
    result = opened(square(out.getvalue(), 50))
    assert (result.format, result.size) == ("JPEG", (50, 50))
    assert np.asarray(result).min() > 250


def test_the_placeholder_has_the_size_asked_for():
    assert placeholder(64).size == (64, 64)


def face(box: tuple[float, float, float, float], *, is_meant: bool = False) -> FaceInPhoto:
    return FaceInPhoto(box, picture(size=(20, 20)), is_meant)


def test_the_sketch_of_a_photo_puts_faces_where_they_are_and_rings_the_one_meant():
    both = [face((100, 100, 200, 200)), face((600, 100, 700, 200), is_meant=True)]
    image = opened(photo_sketch(both, width=900))
    assert (image.format, image.width) == ("JPEG", 900)
    scale = 900 / (700 * 1.125)
    for x in (150, 650):
        red, green, blue = image.getpixel((int(x * scale), int(150 * scale)))
        assert red > 200 > 100 > max(green, blue)
    ring = image.getpixel((int(600 * scale) - 4, int(150 * scale)))
    no_ring = image.getpixel((int(100 * scale) - 4, int(150 * scale)))
    assert ring[2] > ring[0] + 40  # blue
    assert abs(no_ring[2] - no_ring[0]) < 40  # paper


@pytest.mark.parametrize(
    "box",
    [(0, 0, 1, 10_000), (-50, -50, -10, -10), (-100_000, 0, 1, 1), (0, 0, 1e-9, 1e-9), (0, 0, 100_000, 100_000)],
)
def test_a_box_from_a_hostile_file_cannot_fill_the_memory(box):
    image = opened(photo_sketch([face(box, is_meant=True)], width=300))
    assert image.width == 300
    assert 1 <= image.height <= 900
