"""How other programs for faces lost what was said, each as its users reported it: none of it happens here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_library

from facecluster.hierarchies import Params

OTHERS = (Params(1, 2, 1.2, "leaf", 50.0), Params(3, 9, 0.0, "eom", 0.0), Params(2, 4, 0.9, "cut", 50.0))


@pytest.fixture
def library(tmp_path):
    """Everybody has a name."""
    service = small_library.make_library(tmp_path)
    for i, card in enumerate(service.view().people()):
        service.rename(card.id, f"Name {i}")
    return service


def names(service):
    return {card.id: card.name for card in service.view().people(show_hidden=True) if card.name}


def test_names_are_there_after_all_faces_were_clustered_anew(library):
    """Reported of Immich (#8956): after recognition ran again, names were gone."""
    before = names(library)
    for params in OTHERS:
        plan = library.plan(params)
        library.publish(plan)
        assert names(library).items() >= {p: n for p, n in before.items() if p not in plan.names_at_risk}.items()
        said = library.view().snapshot.facts
        assert {key[1]: name for key, name in said.items() if key[0] == "name"} == before
    library.publish(library.plan(small_library.PARAMS))
    assert names(library) == before


def test_merging_somebody_hidden_before_a_rerun_drops_no_face(library):
    """Reported of Immich (#31452, #31507): a reset left hidden people, and merging them dropped faces."""
    anna, ben = (card.id for card in library.view().people()[:2])
    library.hide([ben])
    library.publish(library.plan(OTHERS[0]))
    library.publish(library.plan(small_library.PARAMS))
    both = {*library.view().ids_of(anna), *library.view().ids_of(ben)}
    library.merge(anna, [ben])
    assert set(library.view().ids_of(anna)) == both
    for params in OTHERS:
        library.publish(library.plan(params))
        assert library.view().number.get(ben) is None
        assert not library.view().person(anna).is_hidden


def test_a_rename_to_a_name_that_exists_merges_nobody(library):
    """Reported of PhotoPrism (#1569): a rename of one face merged 700 pictures."""
    anna, ben = (card.id for card in library.view().people()[:2])
    before = {person: set(library.view().ids_of(person)) for person in (anna, ben)}
    library.rename(ben, names(library)[anna])
    assert {person: set(library.view().ids_of(person)) for person in (anna, ben)} == before
    library.publish(library.plan(OTHERS[2]))
    library.publish(library.plan(small_library.PARAMS))
    assert anna in names(library)
    assert ben in names(library)


@pytest.mark.parametrize("value", ["ignored", "not_a_face"])
def test_a_face_that_was_set_aside_can_be_brought_back(library, value):
    """Reported of PhotoPrism (#2816): a face that was removed could not be recovered."""
    anna = library.view().people()[0].id
    face = library.view().ids_of(anna)[0]
    library.mark([face], value)
    library.prepare(small_library.PARAMS.blur_threshold, (2,), rebuild=True)
    library.publish(library.plan(small_library.PARAMS))
    assert library.view().owner(face) is None
    library.mark([face], None)
    library.prepare(small_library.PARAMS.blur_threshold, (2,), rebuild=True)
    library.publish(library.plan(small_library.PARAMS))
    assert library.view().owner(face) == anna


def test_another_file_of_the_same_name_is_not_the_same_face(library, tmp_path):
    """Reported of PhotoPrism (#486): what was said of a deleted file was applied to a new one of its name."""
    anna = library.view().people()[0].id
    library.confirm(anna)
    columns = small_library.faces(seed=9, prefix="other")
    old = library.view().faces
    columns["url"] = np.array([old.url[i % len(old)] for i in range(len(columns["ids"]))])
    before = {face: library.view().owner(face) for face in old.ids}
    library.import_files([small_library.write_faces(tmp_path / "faces.npz", **columns)])
    view = library.view()
    assert {face: view.owner(face) for face in old.ids} == before
    assert {view.owner(face) for face in columns["ids"].tolist()} == {None}
    assert not {key for key in view.snapshot.facts if key[1].startswith("other")}


def test_named_people_keep_their_names_while_photos_come_in(library, tmp_path):
    """Reported of Nextcloud's recognition (#666): after days, named clusters had to be named again."""
    before = {person: (name, set(library.view().ids_of(person))) for person, name in names(library).items()}
    for day in range(1, 4):
        columns = small_library.faces(seed=day, strangers=2, prefix=f"day{day}")
        some = {key: value[:10] for key, value in columns.items()}
        library.import_files([small_library.write_faces(tmp_path / "day.npz", **some)])
        library.prepare(small_library.PARAMS.blur_threshold, (2,), rebuild=True)
        library.publish(library.plan(replace(small_library.PARAMS, min_cluster_size=3)))
        assert names(library).items() >= {person: name for person, (name, _) in before.items()}.items()
    for person, (name, faces) in before.items():
        assert faces & set(library.view().ids_of(person)), f"{name} is on other faces"
