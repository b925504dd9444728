"""Several curators at one moment: nobody replaces what they did not see."""

from __future__ import annotations

import re

import pytest
import small_library

from facecluster.errors import StaleWriteError
from facecluster.meanwhile import and_said, standing_on
from trust import races
from trust.acts import make_template


@pytest.fixture
def library(tmp_path):
    small_library.make_library(tmp_path)
    return tmp_path / "library"


@pytest.fixture
def two(library):
    return small_library.open_library(library), small_library.open_library(library)


def test_moments_of_several_curators_overwrite_nothing(tmp_path, tell):
    template = make_template(tmp_path / "template")
    n = 0
    for seed in range(3):
        found = races.meetings(tmp_path, template, seed, 5)
        assert found.failures == []
        n += found.n
    tell(f"{n} moments of 2 to 8 curators, none of whom overwrote another unseen")


def test_a_face_that_somebody_gave_away_meanwhile_is_not_taken_from_them(two):
    mine, other = two
    anna, ben, cleo = (card.id for card in mine.view().people()[:3])
    mine.rename(ben, "Ben")
    face = mine.view().ids_of(anna)[0]
    seen = mine.view().snapshot.facts
    other.move([face], ben)
    with standing_on(seen), pytest.raises(StaleWriteError) as told:
        mine.move([face], cleo)
    assert re.search(rf"whose face {face} is is “Ben” now .*it was not said, and you said “{cleo}”", str(told.value))
    assert mine.view().owner(face) == ben
    assert mine.move([face], cleo) == mine.view().snapshot.revision, "looked at again, it may be said"


def test_what_others_said_of_other_things_stands_in_nobodys_way(two):
    mine, other = two
    anna, ben = (card.id for card in mine.view().people()[:2])
    seen = mine.view().snapshot.facts
    other.rename(anna, "Anna")
    with standing_on(seen):
        mine.rename(ben, "Ben")
    assert {mine.view().person(anna).name, mine.view().person(ben).name} == {"Anna", "Ben"}


def test_ones_own_words_are_not_somebody_elses(two):
    mine, _ = two
    anna = mine.view().people()[0].id
    seen = mine.view().snapshot.facts
    with standing_on(seen):
        mine.rename(anna, "Anna")
    seen = and_said(seen, mine.history(1)[0])
    with standing_on(seen):
        mine.rename(anna, "Anne")
    assert mine.view().person(anna).name == "Anne"
