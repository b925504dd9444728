"""What a person's page says of the cover and of the folders."""

from __future__ import annotations

import numpy as np

from facecluster.ui.person_facts import bars, cover_rule, folders
from tests.small_library import make_library


def test_the_rule_by_which_a_cover_was_chosen_is_said(tmp_path):
    library = make_library(tmp_path)
    person = library.view().cards[0].id
    assert cover_rule(library.view(), person).startswith("Cover by rule: of the sharp faces")
    theirs = library.view().ids_of(person)
    library.set_cover(person, theirs[-1])
    assert cover_rule(library.view(), person) == "Cover chosen by hand"
    library.reject(theirs[-1:], person)
    assert cover_rule(library.view(), person).startswith("Cover by rule"), "a chosen face that is theirs no more"


def test_a_person_without_a_sharp_face_has_the_sharpest(tmp_path):
    library = make_library(tmp_path)
    blurred = [library.view().faces.ids[row] for row in np.flatnonzero(library.view().faces.blur_score < 50)]
    person = library.new_person(blurred)
    assert cover_rule(library.view(), person) == "Cover by rule: the sharpest face, for none is sharp"
    library.reject(blurred, person)
    assert cover_rule(library.view(), person) == ""


def test_folders_come_by_name_with_the_unknown_one_last(tmp_path):
    library = make_library(tmp_path)
    person = library.view().cards[0].id
    found = folders(library.view(), person)
    assert [folder for folder, _ in found] == ["2023", "2024"]
    assert sum(n for _, n in found) == library.view().cards[0].n_faces


def test_each_folder_has_a_bar_as_tall_as_its_share_and_many_share_bars():
    assert bars([1, 2]).count("<rect") == 2
    assert 'height="17" rx' in bars([1, 2])
    assert bars(list(range(1, 101))).count("<rect") == 34
