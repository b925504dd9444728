"""The dialog that splits a person: what it previews, what it asks, and what its one button writes."""

from __future__ import annotations

import pytest

from facecluster.splitting import person_tree, steps

NASTY = "**A** <img src=x> :dog: $x$ [b](http://c)"


@pytest.fixture
def blended(demo_library):
    """Anna, who is three people, with the faces of each: none is confirmed."""
    people = [card.id for card in demo_library.view().people()[:3]]
    faces = [demo_library.view().ids_of(person) for person in people]
    demo_library.rename(people[0], "Anna")
    demo_library.merge(people[0], people[1:])
    pinned = [face for some in faces for face in some if demo_library.view().face(face).is_confirmed]
    for face in pinned:  # what merging confirmed; the tests confirm what they need
        demo_library._say(lambda draft, face=face: draft.set("pin", face, None) or f"Let go of {face}")
    owned = demo_library.view().ids_of(people[0])
    return people[0], [[face for face in some if face in set(owned)] for some in faces]


def opened(app, person):
    test = app("person", id=person)
    test.button(key="split").click().run()
    assert not test.exception
    return test


def slide(test, n_parts):
    """Move the slider to the first cut that makes so many parts."""
    slider = test.select_slider[0]
    wanted = next(option for option in slider.options if option.endswith(f" {n_parts} parts"))
    slider.set_value(slider.options.index(wanted)).run()
    return test


def test_the_parts_are_shown_before_anything_is_written(app, demo_library, blended, texts):
    person, _ = blended
    before = demo_library.view().snapshot.revision
    test = slide(opened(app, person), 3)
    assert test.button(key="split-now").label == "Split into these 3 people"
    assert "Stays Anna" in texts(test)
    assert len([box for box in test.checkbox if box.label.startswith("New person: ")]) == 2
    assert demo_library.view().snapshot.revision == before


def test_one_button_makes_the_people_and_one_undo_takes_them_back(app, demo_library, blended):
    person, faces = blended
    whole = demo_library.view().ids_of(person)
    test = slide(opened(app, person), 3)
    test.button(key="split-now").click().run()
    assert not test.exception
    view = demo_library.view()
    owners = [{view.owner(face) for face in some} for some in faces]
    assert [len(some) for some in owners] == [1, 1, 1]
    assert len(set.union(*owners)) == 3
    assert view.person(person).name == "Anna"
    test.button(key="fc-news-undo").click().run()
    assert demo_library.view().ids_of(person) == whole


def test_an_unticked_part_stays(app, demo_library, blended):
    person, _ = blended
    test = slide(opened(app, person), 3)
    last = [box for box in test.checkbox if box.label.startswith("New person: ")][-1]
    n_stays = int(last.label.split()[2])
    last.uncheck().run()
    assert test.button(key="split-now").label == "Split into these 2 people"
    test.button(key="split-now").click().run()
    sizes = [len(demo_library.view().ids_of(owner)) for owner in demo_library.view().number]
    assert n_stays not in sizes
    assert not test.exception


@pytest.mark.parametrize("answer", ["stay", "go"])
def test_confirmed_faces_leave_only_when_the_curator_says_so(app, demo_library, blended, answer, texts):
    person, faces = blended
    keeper, other = sorted(faces[:2], key=len, reverse=True)
    demo_library.confirm(person, keeper[:3])
    demo_library.confirm(person, other[:2])
    test = slide(opened(app, person), 3)
    assert "2 of the faces that would leave are confirmed." in texts(test)
    assert test.button(key="split-now").disabled
    test.segmented_control(key=f"split-confirmed-{person}").set_value(answer).run()
    test.button(key="split-now").click().run()
    view = demo_library.view()
    assert {view.owner(face) for face in keeper} == {person}
    assert ({view.owner(face) for face in other[:2]} == {person}) is (answer == "stay")
    assert person not in {view.owner(face) for face in other[2:]}


def test_who_falls_into_no_parts_of_the_size_asked_for_is_told_so(app, demo_library, texts):
    person = demo_library.view().people()[0].id
    tree = person_tree(demo_library.view().faces.vectors, demo_library.view().rows(person), 3)
    least = next(n for n in range(2, len(tree)) if not steps(tree, n))
    test = opened(app, person)
    test.number_input[0].set_value(least).run()
    assert f"These faces fall into no two parts of {least} faces or more each." in texts(test)
    assert "split-now" not in [button.key for button in test.button]


def test_who_has_one_face_cannot_be_split(app, demo_library):
    person = demo_library.new_person([demo_library.view().noise[0].face])
    assert app("person", id=person).button(key="split").disabled


def test_the_dialog_shows_a_name_as_it_is(app, demo_library, blended):
    person, _ = blended
    demo_library.rename(person, NASTY)
    test = slide(opened(app, person), 3)
    labels = [e.label for kind in (test.button, test.checkbox) for e in kind]
    assert not [label for label in labels if "<img" in label.replace("\\<img", "")]
    assert not [m.value for m in test.markdown if "<img" in m.value]


def test_cancel_changes_nothing(app, demo_library, blended):
    person, _ = blended
    before = demo_library.view().snapshot.revision
    test = opened(app, person)
    test.button(key="split-cancel").click().run()
    assert "split-now" not in [button.key for button in test.button]
    assert demo_library.view().snapshot.revision == before
