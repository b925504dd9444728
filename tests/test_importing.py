"""Reading face files: four formats, one result; what is refused is said, and nothing is guessed."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from facecluster.errors import InputError
from facecluster.importing import CheckedFaces, read_faces


def picture(colour: str = "red", size: tuple[int, int] = (6, 4), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


CROPS = [picture("red"), b"", picture("blue", kind="JPEG")]
FACES = [
    {"id": "b", "vector": [3.0, 4.0, 0.0], "photo": "p1", "url": "https://a.example/1.jpg", "folder": "2024",
     "blur_score": 80.5, "box": [1.0, 2.0, 30.0, 40.0], "crop": CROPS[0]},
    {"id": "a", "vector": [0.0, 0.0, 2.0], "photo": None, "url": "https://a.example/2.jpg", "folder": None,
     "blur_score": None, "box": None, "crop": None},
    {"id": "ö, „c“", "vector": [-1.0, 1.0, 0.0], "photo": "p2", "url": None, "folder": "Über, \"uns\"",
     "blur_score": 12.0, "box": [0.0, 0.0, 5.0, 5.0], "crop": CROPS[2]},
]  # fmt: skip
NAN_BOX = [float("nan")] * 4


def as_text(face: dict[str, object]) -> dict[str, object]:
    crop = face["crop"]
    return {**face, "crop": base64.b64encode(crop).decode() if isinstance(crop, bytes) else None}


def write_npz(path: Path, faces: list[dict[str, object]]) -> None:
    crops = [face["crop"] or b"" for face in faces]
    np.savez(
        path,
        ids=np.array([f["id"] for f in faces]),
        vectors=np.array([f["vector"] for f in faces], np.float32),
        photo=np.array([f["photo"] or "" for f in faces]),
        url=np.array([f["url"] or "" for f in faces]),
        folder=np.array([f["folder"] or "" for f in faces]),
        blur_score=np.array([np.nan if f["blur_score"] is None else f["blur_score"] for f in faces], np.float32),
        boxes=np.array([f["box"] or NAN_BOX for f in faces], np.float32),
        crops=np.frombuffer(b"".join(crops), np.uint8),
        crop_offsets=np.cumsum([0, *map(len, crops)]),
    )


def write_parquet(path: Path, faces: list[dict[str, object]]) -> None:
    pq.write_table(pa.Table.from_pylist(faces), path)


def write_csv(path: Path, faces: list[dict[str, object]]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(faces[0]))
        writer.writeheader()
        for face in map(as_text, faces):
            writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in face.items()})


def write_jsonl(path: Path, faces: list[dict[str, object]]) -> None:
    path.write_text("\n\n".join(json.dumps(as_text(face)) for face in faces) + "\n", "utf-8")


WRITERS = {
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".ndjson": write_jsonl,
}


def read_rows(tmp_path: Path, *rows: object, dimension: int | None = None) -> CheckedFaces:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return read_faces(path, dimension)


def read_arrays(tmp_path: Path, dimension: int | None = None, **arrays: object) -> CheckedFaces:
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays)
    return read_faces(path, dimension)


def reason(faces: CheckedFaces) -> str:
    assert not faces.batch.ids
    return faces.refused[0].reason


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_faces(suffix, tmp_path):
    path = tmp_path / f"faces{suffix}"
    WRITERS[suffix](path, FACES)
    faces = read_faces(path)
    batch = faces.batch
    assert not faces.refused
    assert not faces.without_picture
    assert batch.ids == ("b", "a", "ö, „c“")
    np.testing.assert_allclose(batch.vectors, [[0.6, 0.8, 0], [0, 0, 1], [-(0.5**0.5), 0.5**0.5, 0]], rtol=1e-7)
    assert batch.vectors.dtype == np.float32
    assert batch.photo == ("p1", "https://a.example/2.jpg", "p2")  # without a photo key the address is one
    assert batch.url == ("https://a.example/1.jpg", "https://a.example/2.jpg", "")
    assert batch.folder == ("2024", "", 'Über, "uns"')
    np.testing.assert_array_equal(batch.blur_score, np.array([80.5, np.nan, 12], np.float32))
    np.testing.assert_array_equal(batch.boxes, np.array([[1, 2, 30, 40], NAN_BOX, [0, 0, 5, 5]], np.float32))
    assert batch.crops == tuple(CROPS)
    assert batch.crop_urls == ("", "", "")


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".jsonl"])
def test_a_file_of_ids_and_vectors_alone_is_enough(suffix, tmp_path):
    path = tmp_path / f"faces{suffix}"
    if suffix == ".npz":
        np.savez(path, ids=np.array(["a"]), vectors=np.array([[1.0, 0.0]]))
    else:
        WRITERS[suffix](path, [{"id": "a", "vector": [1.0, 0.0], "crop": None}])
    batch = read_faces(path).batch
    assert (batch.ids, batch.photo, batch.crops) == (("a",), ("",), (b"",))
    assert np.isnan(batch.blur_score).all()
    assert np.isnan(batch.boxes).all()


@pytest.mark.parametrize("id_name", ["id", "ids", "face_id", "vector_id"])
@pytest.mark.parametrize("vector_name", ["vector", "vectors", "values", "embedding"])
def test_columns_go_by_the_names_that_face_indexes_give_them(id_name, vector_name, tmp_path):
    row = {
        id_name: "a",
        vector_name: [1, 0],
        "image_url": "https://a.example/x",
        "photo_id": 7,
        "blur": "3",
        "bbox": [0, 0, 2, 2],
    }
    batch = read_rows(tmp_path, row).batch
    assert (batch.ids, batch.url, batch.photo) == (("a",), ("https://a.example/x",), ("7",))
    assert batch.blur_score[0] == 3
    assert batch.boxes[0].tolist() == [0, 0, 2, 2]


def test_suffixes_may_be_capitals(tmp_path):
    path = tmp_path / "FACES.JSONL"
    write_jsonl(path, FACES)
    assert len(read_faces(path).batch.ids) == 3


@pytest.mark.parametrize("cell", ["[1, 2, 2]", "1 2 2", "1,2,2", "1;2;2", " [1.0 , 2.0 , 2.0] "])
def test_a_vector_in_a_csv_may_be_written_in_several_ways(cell, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text(f'id,vector\na,"{cell}"\n', "utf-8-sig")
    np.testing.assert_allclose(read_faces(path).batch.vectors, [[1 / 3, 2 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "a", "vector": [float("nan"), 1, 0]}, "NaN or infinity"),
        ({"id": "a", "vector": [float("inf"), 1, 0]}, "NaN or infinity"),
        ({"id": "a", "vector": [0, 0, 0]}, "is zero"),
        ({"id": "a", "vector": [1e-300, 0, 0]}, "is zero"),
        ({"id": "a", "vector": [1e200, 1e200, 0]}, "too long to be measured"),
        ({"id": "a", "vector": [10**400, 1, 0]}, "no number"),
        ({"id": "a", "vector": ["one", 1, 0]}, "no number"),
        ({"id": "a", "vector": [1, 0]}, "2 numbers and not 3"),
        ({"id": "a", "vector": []}, "0 numbers and not 3"),
        ({"id": "a", "vector": None}, "no readable vector"),
        ({"id": "a", "vector": "1 2 3"}, "no readable vector"),
        ({"id": "", "vector": [1, 0, 0]}, "no id"),
        ({"id": None, "vector": [1, 0, 0]}, "no id"),
        ({"id": "x" * 513, "vector": [1, 0, 0]}, "513 characters, and the limit is 512"),
        ({"id": "a\nb", "vector": [1, 0, 0]}, "control characters"),
        ({"id": "a\x7f", "vector": [1, 0, 0]}, "control characters"),
        ({"id": "a\x85", "vector": [1, 0, 0]}, "control characters"),
        ({"id": "a\ud800", "vector": [1, 0, 0]}, "control characters"),
    ],
)
def test_a_face_that_cannot_be_used_is_refused_with_its_reason(row, said, tmp_path):
    faces = read_rows(tmp_path, row, dimension=3)
    assert said in reason(faces)
    # What is said can be printed on any terminal: no escapes, no halves of characters, no endless ids.
    assert faces.refused[0].face.encode("utf-8").decode().isprintable()
    assert len(faces.refused[0].face) < 100


def test_a_face_without_id_is_named_by_its_row(tmp_path):
    faces = read_rows(tmp_path, {"id": "a", "vector": [1, 0]}, {"id": "", "vector": [1, 0]})
    assert [r.face for r in faces.refused] == ["row 2"]


def test_of_twin_ids_the_first_is_taken_and_the_others_are_refused(tmp_path):
    rows = [{"id": i, "vector": v} for i, v in [("a", [1, 0]), ("b", [0, 1]), ("a", [0, 1]), ("a", [1, 0])]]
    faces = read_rows(tmp_path, *rows)
    assert faces.batch.ids == ("a", "b")
    assert faces.batch.vectors.tolist() == [[1, 0], [0, 1]]
    assert [(r.face, r.reason) for r in faces.refused] == [("a", "its id stands twice in the file")] * 2


def test_an_empty_library_takes_the_dimension_that_most_rows_have(tmp_path):
    faces = read_rows(tmp_path, {"id": "a", "vector": [1]}, *({"id": f"b{i}", "vector": [1, 0, 0]} for i in range(2)))
    assert faces.batch.ids == ("b0", "b1")


def test_an_array_of_another_dimension_is_refused_face_by_face(tmp_path):
    faces = read_arrays(tmp_path, 3, ids=np.array(["a", "b"]), vectors=np.eye(2))
    assert reason(faces) == "its vector has 2 numbers and not 3"
    assert faces.batch.vectors.shape == (0, 3)


def test_vectors_come_out_at_length_one_to_the_last_bit_that_float32_has(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(40, 512)) * np.logspace(-30, 30, 40)[:, None]
    batch = read_arrays(tmp_path, ids=np.arange(40).astype(str), vectors=vectors).batch
    np.testing.assert_allclose(np.linalg.norm(batch.vectors.astype(np.float64), axis=1), 1, atol=1e-6)


def test_arrays_of_bytes_are_text_and_not_their_python_spelling(tmp_path):
    batch = read_arrays(tmp_path, ids=np.array([b"a", b"b"]), vectors=np.eye(2), folder=np.array([b"x", b"y"])).batch
    assert (batch.ids, batch.folder) == (("a", "b"), ("x", "y"))


def test_whole_numbers_are_photos_too(tmp_path):
    assert read_arrays(tmp_path, ids=np.array([7, 8]), vectors=np.eye(2), photo=np.array([3, 3])).batch.photo == (
        "3",
        "3",
    )


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("name", ["photo", "url", "folder", "blur_score"])
def test_a_column_of_another_length_is_refused_and_never_shifted(name, n, tmp_path):
    with pytest.raises(InputError, match=f"{name!r}.*one row a face"):
        read_arrays(tmp_path, ids=np.array(["a", "b"]), vectors=np.eye(2), **{name: np.arange(n).astype(str)})


@pytest.mark.parametrize(
    "offsets", [[0, 1], [0, 2, 1, 3], [0, 1, 2, 99], [-1, 0, 1, 2], [0.0, 1.0, 2.0, 3.0], [[0, 1, 2, 3]]]
)
def test_crop_offsets_that_do_not_fit_are_refused(offsets, tmp_path):
    with pytest.raises(InputError, match="Nothing was imported"):
        read_arrays(
            tmp_path, ids=np.array(list("abc")), vectors=np.eye(3), crops=np.zeros(3, np.uint8),
            crop_offsets=np.array(offsets),
        )  # fmt: skip


def broken_npz(path: Path) -> None:
    write_npz(path, FACES)
    path.write_bytes(path.read_bytes()[:-30])


def scrambled_npz(path: Path) -> None:
    np.savez_compressed(path, ids=np.arange(900).astype(str), vectors=np.random.default_rng(0).normal(size=(900, 8)))
    with path.open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff" * 64)


def single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.eye(3))


def claims_too_much(path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ids.npy", head.getvalue())
        file.writestr("vectors.npy", head.getvalue())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.npz", broken_npz),
        ("f.npz", scrambled_npz),
        ("f.npz", single_array),
        ("f.npz", claims_too_much),
        ("f.npz", b""),
        ("f.npz", b"PK\x03\x04 no archive"),
        ("f.parquet", b"PAR1 and then nothing PAR1"),
        ("f.parquet", b""),
        ("f.csv", b"id,vector\n\xff\xfe\xfa,1\n"),
        ("f.jsonl", b'{"id": "a", "vector": [1, 2}'),
        ("f.jsonl", b"[" * 100_000),
        ("f.jsonl", b'["a", [1, 2]]'),
        ("f.jsonl", b"\xff\xfe"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence_that_names_it(name, content, tmp_path):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*Nothing was imported from it") as caught:
        read_faces(path)
    assert len(str(caught.value)) < 500


@pytest.mark.filterwarnings("ignore:Reading")  # numpy takes a damaged head for one of Python 2
def test_damage_in_the_head_of_a_large_array_is_a_sentence_wherever_it_is(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, ids=np.arange(100).astype(str), vectors=np.ones((100, 16)))
    data = path.read_bytes()
    start = data.index(b"{'descr'", data.index(b"vectors.npy"))
    for at in range(start, data.index(b"\n", start)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(InputError, match="Nothing was imported"):
            read_faces(path)


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.write_text, (tmp_path / "sprung", "x"))

    with pytest.raises(InputError, match="Nothing was imported"):
        read_arrays(tmp_path, ids=np.array([Trap()], object), vectors=np.eye(1))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["faces.pkl", "faces.txt", "faces"])
def test_other_suffixes_are_refused_with_those_that_are_read(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"\.npz, \.parquet, \.csv, \.jsonl"):
        read_faces(tmp_path / name)


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_faces(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("f.csv", "id,photo\na,p\n", "vector"),
        ("f.csv", "name,vector\na,1\n", "id"),
        ("f.jsonl", '{"id": "a"}\n', "vector"),
    ],
)
def test_a_missing_column_is_named_beside_those_there_are(name, text, missing, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InputError, match=f"no column {missing!r} .it has"):
        read_faces(tmp_path / name)


def test_a_missing_array_or_parquet_column_is_named_too(tmp_path):
    with pytest.raises(InputError, match="no array 'vectors'"):
        read_arrays(tmp_path, ids=np.array(["a"]))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match="no column 'vector'"):
        read_faces(tmp_path / "f.parquet")


def test_a_file_without_rows_holds_no_faces(tmp_path):
    (tmp_path / "f.jsonl").write_text("\n", "utf-8")
    (tmp_path / "f.csv").write_text("id,vector\n", "utf-8")
    for name in ("f.jsonl", "f.csv"):
        assert read_faces(tmp_path / name).batch.ids == ()
    assert read_arrays(tmp_path, ids=np.array([], "U1"), vectors=np.empty((0, 4))).batch.vectors.shape == (0, 4)


def test_a_crop_may_be_bytes_base64_a_data_uri_or_an_address(tmp_path):
    text = base64.b64encode(CROPS[0]).decode()
    crops = [text, f"data:image/png;base64,{text}", "https://a.example/x.jpg", ""]
    batch = read_rows(tmp_path, *({"id": str(i), "vector": [1, 0], "face_crop": c} for i, c in enumerate(crops))).batch
    assert batch.crops == (CROPS[0], CROPS[0], b"", b"")
    assert batch.crop_urls == ("", "", "https://a.example/x.jpg", "")


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        (picture(size=(2001, 2000)), "2,001 x 2,000 pixels, and the limit is 4,000,000"),
        (picture(size=(1, 1)) + b"\0" * 2_000_000, "2,000,000"),
        (b"GIF89a not a picture", "no JPEG, PNG or WebP"),
        (picture(kind="GIF"), "no JPEG, PNG or WebP"),
        (picture(kind="BMP"), "no JPEG, PNG or WebP"),
        ("http://a.example/x.jpg", "neither base64"),
        ("file:///etc/passwd", "neither base64"),
        ("../../etc/passwd", "neither base64"),
        ("data:text/html;base64,PHNjcmlwdD4=", "neither base64"),
        ("A" * 3_000_000, "more than 2,000,000 bytes"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else "bytes",
)
def test_a_picture_that_is_refused_costs_the_face_nothing_else(crop, said, tmp_path):
    text = base64.b64encode(crop).decode() if isinstance(crop, bytes) else crop
    faces = read_rows(tmp_path, {"id": "a", "vector": [1, 0], "crop": text}, {"id": "b", "vector": [0, 1]})
    assert faces.batch.ids == ("a", "b")
    assert faces.batch.crops == (b"", b"")
    assert faces.batch.crop_urls == ("", "")
    assert not faces.refused
    assert [r.face for r in faces.without_picture] == ["a"]
    assert said in faces.without_picture[0].reason


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    for side in (10_000, 20_000):  # Pillow warns of the first and raises at the second
        out = io.BytesIO()
        Image.new("1", (side, side)).save(out, "PNG")
        faces = read_rows(tmp_path, {"id": "a", "vector": [1], "crop": base64.b64encode(out.getvalue()).decode()})
        assert "the limit" in faces.without_picture[0].reason


@pytest.mark.parametrize(
    "box",
    [None, [1, 2, 3], [5, 5, 1, 9], [5, 5, 9, 5], ["a", 1, 2, 3], [0, 0, 1e29, 1e29], [0, 0, 10**400, 1], {"x": 1}],
)
def test_a_box_that_makes_no_sense_is_unknown(box, tmp_path):
    assert np.isnan(read_rows(tmp_path, {"id": "a", "vector": [1, 0], "box": box}).batch.boxes).all()


@pytest.mark.parametrize("score", [None, "sharp", "", float("nan"), float("inf"), 10**400, [1]])
def test_a_blur_score_that_is_no_number_is_unknown(score, tmp_path):
    assert np.isnan(read_rows(tmp_path, {"id": "a", "vector": [1, 0], "blur_score": score}).batch.blur_score).all()


def test_real_faces_import_as_they_are(real_faces):
    faces = read_faces(real_faces)
    assert not faces.refused
    assert not faces.without_picture
    assert len(faces.batch.ids) > 1_000
    assert all(faces.batch.crops)
    np.testing.assert_allclose(np.linalg.norm(faces.batch.vectors, axis=1), 1, atol=1e-5)
