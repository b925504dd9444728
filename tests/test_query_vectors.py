"""An uploaded vector is searched by as it is meant, and whatever else is uploaded gets one sentence."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from facecluster.errors import InputError
from facecluster.query_vectors import MAX_BYTES, query_vectors

ONE = np.array([3.0, 0.0, 4.0, 0.0])
TWO = np.array([ONE, [0.0, 0.0, 0.0, 5.0]])
UNIT = [0.6, 0.0, 0.8, 0.0]


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npy", npy(ONE)),
        ("a.NPY", npy(ONE.astype(np.float32)[None, :])),
        ("a.npy", npy(ONE.astype(int)[:, None])),
        ("a.npz", npz(anything=ONE)),
        ("a.npz", npz(ids=np.array(["x"]), vectors=TWO[:1])),
        ("a.json", b"[3, 0, 4, 0]"),
        ("a.json", b"\xef\xbb\xbf[[3, 0, 4, 0.0]]"),
        ("a.json", b'{"id": "x", "embedding": [3, 0, 4, 0]}'),
        ("a.csv", b"3,0,4,0"),
        ("a.csv", b"a,b,c,d\r\n3,0,4,0\r\n\r\n"),
        ("a.csv", b"3;0;4;0\n"),
        ("a.csv", b"3\n0\n4\n0\n"),
        ("a.csv", b'id,vector\n=cmd(),"[3, 0, 4, 0]"\n'),
    ],
)
def test_one_vector_is_read_from_every_format_and_given_length_1(name, data):
    found = query_vectors(name, data, 4)
    assert len(found) == 1
    np.testing.assert_allclose(found.one(0), UNIT, atol=1e-7)
    assert found.rows.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npy", npy(TWO)),
        ("a.npz", npz(vector=TWO, blur=np.zeros(2))),
        ("a.json", json.dumps(TWO.tolist()).encode()),
        ("a.csv", b"3,0,4,0\n0,0,0,5"),
        ("a.csv", b"vector,name\n3 0 4 0,x\n0 0 0 5,y"),
    ],
)
def test_of_several_vectors_one_is_chosen(name, data):
    found = query_vectors(name, data, 4)
    assert len(found) == 2
    np.testing.assert_allclose(found.one(1), [0, 0, 0, 1])
    with pytest.raises(InputError, match=r"has 2 vectors, and no row 3\. .* Choose a row from 1 to 2"):
        found.one(2)


def test_a_row_without_a_direction_is_refused_when_it_is_chosen_and_the_others_are_not():
    found = query_vectors("a.npy", npy(np.array([ONE, ONE * np.nan, ONE * 0])), 4)
    np.testing.assert_allclose(found.one(0), UNIT, atol=1e-7)
    for number, why in ((1, "NaN or infinity"), (2, "its vector is zero")):
        with pytest.raises(InputError, match=f"Row {number + 1} of a.npy cannot be searched by: .*{why}"):
            found.one(number)


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", npy(np.zeros((1, 4)))[:128] + bytes(20_000_000))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"1,2,3,4", "is none of .npy, .npz, .json, .csv"),
        ("a", b"", "is none of"),
        ("a.json", b" " * (MAX_BYTES + 1), "has 10,000,001 bytes, and the limit is 10,000,000"),
        ("a.npy", npy(np.zeros(512) + 1), "have 512 numbers, and those of this library 4"),
        ("a.json", b"[]", "holds no vector"),
        ("a.csv", b"", "holds no vector"),
        ("a.csv", b"a,b,c,d\n", "holds no vector"),
        ("a.npy", npy(ONE * 0), "its vector is zero"),
        ("a.json", b"[NaN, 0, 0, 1]", "NaN or infinity"),
        ("a.json", b"[1e999, 0, 0, 1]", "NaN or infinity"),
        ("a.json", b"[1e308, 1e308, 1e308, 1e308]", "too long to be measured"),
        ("a.json", b'["1", "2", "3", "4"]', "cannot be read as json"),
        ("a.json", b"[[1, 2, 3, 4], [1]]", "cannot be read as json"),
        ("a.json", b"[" * 100_000, "cannot be read as json"),
        ("a.json", b"null", "cannot be read as json"),
        ("a.json", b"\xff\xfe", "cannot be read as json"),
        ("a.json", b"{}", "cannot be read as json"),
        ("a.csv", b"3,0,4,0\nx,y,z,w", "cannot be read as csv"),
        ("a.csv", b"id,vector\nonly-an-id", "cannot be read as csv"),
        ("a.npy", b"\x93NUMPY", "cannot be read as npy"),
        ("a.npy", npy(np.zeros((1, 2, 4))), "cannot be read as npy"),
        ("a.npy", npy(np.array([{"a": 1}], dtype=object)), "cannot be read as npy"),
        ("a.npz", npy(ONE), "cannot be read as npz"),
        ("a.npz", npz(a=ONE, b=ONE), "cannot be read as npz"),
        ("a.npz", bomb(), "cannot be read as npz"),
        ("a.npz", b"PK\x03\x04", "cannot be read as npz"),
    ],
)
def test_what_cannot_be_searched_by_gets_a_sentence_that_says_what_to_do(name, data, said):
    with pytest.raises(InputError) as told:
        query_vectors(name, data, 4)
    assert said in str(told.value)
    assert "Nothing was searched. Choose a file with one vector" in str(told.value)


def test_a_long_name_is_shown_by_its_end():
    with pytest.raises(InputError, match=r"^…x+\.npy cannot be read"):
        query_vectors("x" * 10_000 + ".npy", b"", 4)


@pytest.mark.filterwarnings("ignore:Reading")  # numpy takes a damaged head for one of Python 2
def test_damage_in_the_head_of_an_array_raises_nothing_but_a_sentence():
    data, refused = npy(TWO), 0
    for at in range(len(data)):
        try:
            query_vectors("a.npy", data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], 4)
        except InputError:
            refused += 1
    assert refused > 50
