"""Erasing a person: what the dialog names, what it wants typed, and what is gone afterwards."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest

from facecluster.errors import StoreUnavailableError
from facecluster.exporting import person_as_json
from facecluster.stores.local_people import LocalPeopleStore
from facecluster.ui import crops


@pytest.fixture
def anna(demo_library):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    return demo_library.view().card_of[card.id]


def asked(app, person):
    test = app("person", id=person)
    test.button(key="erase").click().run()
    assert not test.exception
    return test


def typed(test, person, text):
    test.text_input(key=f"erase-typed-{person}").set_value(text).run()
    return test


def test_the_dialog_names_what_goes_and_that_it_cannot_be_undone(app, demo_library, anna, texts):
    n = len(demo_library.view().everything_of(anna.id)[0])
    said = texts(asked(app, anna.id))
    for expected in (f"{n} faces", "vectors and cut-out pictures", "on this machine", "“Anna”", "cannot be undone"):
        assert expected in said
    assert "Pinecone" not in said


@pytest.mark.parametrize("wrong", ["", "yes", "Ann", "0", "anna b"])
def test_nothing_but_the_number_or_the_name_opens_the_button(app, demo_library, anna, wrong):
    test = typed(asked(app, anna.id), anna.id, wrong)
    assert test.button(key="erase-now").disabled
    assert anna.id in demo_library.view().card_of


@pytest.mark.parametrize("by", ["name", "number"])
def test_erased_is_erased_and_people_says_so_without_an_undo(app, demo_library, anna, by, texts):
    faces = demo_library.view().everything_of(anna.id)[0]
    n_before = len(demo_library.view().faces)
    test = typed(asked(app, anna.id), anna.id, "Anna" if by == "name" else str(len(faces)))
    button = test.button(key="erase-now")
    assert button.label == f"Erase Anna and {len(faces)} faces"
    assert not button.disabled
    button.click().run()
    assert not test.exception
    view = demo_library.view()
    assert len(view.faces) == n_before - len(faces)
    assert not set(faces) & set(view.faces.ids)
    assert "Anna" not in [card.name for card in view.cards]
    assert "People" in [title.value for title in test.title]
    assert "Erased a person" in texts(test)
    assert "fc-news-undo" not in [b.key for b in test.button]


@pytest.mark.parametrize("is_wanted", [True, False])
def test_the_same_faces_are_kept_out_where_that_was_asked_for(app, demo_library, anna, is_wanted, tmp_path):
    faces = demo_library.view().everything_of(anna.id)[0]
    saved = json.loads(person_as_json(demo_library.view(), anna.id, demo_library.crop))
    lines = tmp_path / "anna.jsonl"
    lines.write_text("\n".join(json.dumps(face) for face in saved["faces"]), "utf-8")
    hers = {sha256(demo_library.crop(face)).digest() for face in faces}
    crops._kept.get(demo_library.crop(faces[0]), crops.SIZES[0])
    assert hers & {digest for digest, _ in crops._kept._kept}
    test = typed(asked(app, anna.id), anna.id, "Anna")
    if is_wanted:
        test.checkbox(key=f"erase-block-{anna.id}").check().run()
    test.button(key="erase-now").click().run()
    assert not test.exception
    assert not hers & {digest for digest, _ in crops._kept._kept}, "no picture of her stays in memory"
    report = demo_library.import_files([lines])
    assert (report.blocked, report.added) == ((len(faces), 0) if is_wanted else (0, len(faces)))


def test_history_offers_no_undo_of_it(app, demo_library, anna, texts):
    revision = demo_library.erase(anna.id, len(demo_library.view().everything_of(anna.id)[0]))
    test = app("history")
    assert f"undo-{revision}" not in [b.key for b in test.button]
    assert f"undo-{revision - 2}" in [b.key for b in test.button]
    assert "cannot be taken back" in texts(test)
    assert "Anna" not in texts(test)


def test_cancel_erases_nothing(app, demo_library, anna):
    test = asked(app, anna.id)
    test.button(key="erase-cancel").click().run()
    assert anna.id in demo_library.view().card_of
    assert "erase-now" not in [b.key for b in test.button]


def test_where_the_number_changed_meanwhile_nothing_is_erased(app, demo_library, anna, texts):
    test = typed(asked(app, anna.id), anna.id, "Anna")
    faces = demo_library.view().faces_of(anna.id)
    demo_library.reject([faces[0].id], anna.id)
    test.button(key="erase-now").click().run()
    assert "Nothing was erased" in texts(test)
    assert anna.id in demo_library.view().card_of


def test_after_a_failure_on_the_way_it_can_be_repeated(app, demo_library, anna, monkeypatch, texts):
    demo_library.rename(anna.id, "")
    n = len(demo_library.view().everything_of(anna.id)[0])

    def refuse(self, change):
        raise StoreUnavailableError("The store does not answer. Try again.")

    with monkeypatch.context() as broken:
        broken.setattr(LocalPeopleStore, "apply", refuse)
        test = typed(asked(app, anna.id), anna.id, str(n))
        test.button(key="erase-now").click().run()
        assert "does not answer" in texts(test)
    test = typed(asked(app, anna.id), anna.id, str(n))
    test.button(key="erase-now").click().run()
    assert not test.exception
    assert anna.id not in demo_library.view().snapshot.people


def test_everything_of_a_person_can_be_saved_first_and_imported_again(app, demo_library, anna, texts, tmp_path):
    faces = demo_library.view().ids_of(anna.id)
    demo_library.confirm(anna.id, faces[:3])
    demo_library.reject(faces[4:5], demo_library.view().cards[1].id)
    test = asked(app, anna.id)
    assert "What was said of these faces: 3 confirmations, 1 time that a face is not somebody." in texts(test)
    label = f"Save all of it first: {len(faces)} faces and what was said, as a ZIP of open files"
    assert [button.proto.label for button in test.get("download_button")] == [label]

    saved = json.loads(person_as_json(demo_library.view(), anna.id, demo_library.crop))
    assert (saved["person"], saved["name"]) == (anna.id, "Anna")
    assert {(fact["kind"], fact["value"]) for fact in saved["facts"] if fact["subject"] == faces[0]} == {
        ("pin", anna.id)
    }
    assert {fact["kind"] for fact in saved["facts"]} >= {"name", "pin", "not_person"}
    lines = tmp_path / "anna.jsonl"
    lines.write_text("\n".join(json.dumps(face) for face in saved["faces"]), "utf-8")
    before = demo_library.view().faces
    demo_library.erase(anna.id, len(faces))
    report = demo_library.import_files([lines])
    assert (report.added, report.refused, report.without_picture) == (len(faces), (), ())
    after = demo_library.view().faces
    for face in faces:
        old, new = before.row[face], after.row[face]
        np.testing.assert_allclose(after.vectors[new], before.vectors[old], atol=1e-7)
        assert (after.photo[new], after.folder[new]) == (before.photo[old], before.folder[old])
        assert after.picture_marks[new] == before.picture_marks[old]
