"""`facecluster find` as other programs meet it."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from small_library import make_library

from facecluster.answers import Asked, answer, answer_table
from facecluster.cli import cli
from facecluster.errors import InputError


@pytest.fixture
def view(tmp_path):
    return make_library(tmp_path).view()


def call(*args):
    result = CliRunner().invoke(cli, ["find", *map(str, args)])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_face_a_person_and_a_vector_find_what_the_page_finds_and_only_json_is_printed(view, tmp_path):
    person, face = view.cards[0].id, view.faces.ids[3]
    np.save(tmp_path / "v.npy", view.faces.vectors[[7, 3]] * 9)
    vector = view.faces.vectors[3]
    for args, asked in (
        (("--face", face), Asked(face=face)),
        (("--person", person, "--least", 0.2, "--most", 4), Asked(person=person, least=0.2, most=4)),
        (("--vector", tmp_path / "v.npy", "--row", 2), Asked(vector=vector)),
    ):
        told = json.loads(call(*args, "--json"))
        expected = answer_table(view, answer(view, asked).faces)
        assert [row["face"] for row in told["faces"]] == [row["face"] for row in expected]
        assert [row["why"] for row in told["faces"]] == [row["why"] for row in expected]


def test_photos_are_found_by_who_is_in_them_as_csv_and_in_words(view):
    a, b = (card.id for card in view.cards[:2])
    found = answer(view, Asked(any_of=(a, b), without=(view.cards[2].id,)))
    args = ("--any", a, "--any", b, "--without", view.cards[2].id)
    rows = list(csv.DictReader(io.StringIO(call(*args, "--csv"))))
    assert [row["face"] for row in rows] == [one.face for one in found.faces]
    last = call(*args).splitlines()[-1]
    assert last == f"{len(found.faces)} faces in {found.n_photos} of {found.n_photos_there} photos"


def test_who_is_probably_the_same_comes_only_when_asked_for(view):
    face = view.faces.ids[3]
    assert "suggested" not in call("--face", face)
    assert call("--face", face, "--suggested")


@pytest.mark.parametrize("args", [(), ("--face", "a", "--person", "b"), ("--face", "a", "--json", "--csv")])
def test_more_than_one_question_or_none_is_refused(args):
    result = CliRunner().invoke(cli, ["find", *args])
    assert result.exit_code == 2
    assert "Choose one of --face" in result.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--face", "gone"), "There is no face 'gone'"),
        (("--person", "p-gone"), "There is no person 'p-gone'"),
        (("--vector", "gone.npy"), "gone.npy cannot be read: No such file"),
        (("--vector", __file__), "is none of .npy"),
    ],
)
def test_a_mistake_is_one_sentence(view, args, said):
    with pytest.raises(InputError, match=said):
        call(*args)
