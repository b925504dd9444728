"""Suggested parameters: from the faces alone, the same whatever their order, and never away from good defaults."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from facecluster.clustering import ExtractionParams, build_hierarchy, extract, find_neighbours
from facecluster.demo import synthetic_faces
from facecluster.suggest import SIZES, STABLE, Setting, StabilityMap, epsilon_axis, stability_map, suggest

DEFAULT = Setting(3, 3, 0.35)
SAMPLES = (1, 2, 3, 4, 5)


def hierarchies(vectors, samples=SAMPLES):
    neighbours = find_neighbours(vectors)
    return {k: build_hierarchy(vectors, k, neighbours) for k in samples}


def b_cubed(labels, truth):
    """F of B-cubed; a face in no cluster is a person of its own."""
    alone = labels.max(initial=-1) + 1 + np.arange(len(labels))
    found = np.where(labels < 0, alone, labels).astype(np.int64)

    def sizes(key):
        _, at, count = np.unique(key, return_inverse=True, return_counts=True)
        return count[at]

    common = sizes(found * (int(truth.max()) + 1) + truth)
    precision, recall = (common / sizes(found)).mean(), (common / sizes(truth.astype(np.int64))).mean()
    return 2 * precision * recall / (precision + recall)


def score(found, setting, truth, method="eom"):
    params = ExtractionParams(setting.min_cluster_size, setting.epsilon, method)
    return b_cubed(extract(found[setting.min_samples], params).labels, truth)


@pytest.fixture(scope="module", params=["album", "crowd"])
def made(request):
    faces = synthetic_faces(3_000, seed=5, style=request.param)
    return faces, hierarchies(faces.vectors)


@pytest.fixture(scope="module")
def album():
    faces = synthetic_faces(1_200, seed=2, style="album")
    found = hierarchies(faces.vectors)
    return faces, found, stability_map(found, "eom", faces.photo, DEFAULT)


def same(a: StabilityMap, b: StabilityMap) -> bool:
    x, y = a.to_arrays(), b.to_arrays()
    return x.keys() == y.keys() and all(np.array_equal(x[key], y[key]) for key in x)


# --- what is suggested ---------------------------------------------------------------------------------------------


def test_what_is_suggested_finds_people_no_worse_than_the_defaults(made):
    faces, found = made
    suggestion = suggest(stability_map(found, "eom", faces.photo, DEFAULT), DEFAULT)
    assert score(found, suggestion.setting, faces.person) >= score(found, DEFAULT, faces.person) - 0.002


def test_good_defaults_are_not_left_without_a_reason(made):
    faces, found = made
    suggestion = suggest(stability_map(found, "eom", faces.photo, DEFAULT), DEFAULT)
    assert suggestion.setting == DEFAULT
    assert suggestion.is_default


@pytest.mark.parametrize(
    ("method", "poor"), [("eom", Setting(3, 3, 1.22)), ("cut", Setting(3, 3, 0.35)), ("cut", Setting(2, 2, 1.3))]
)
def test_from_poor_defaults_it_leads_to_settings_that_find_more(made, method, poor):
    faces, found = made
    suggestion = suggest(stability_map(found, method, faces.photo, poor), poor)
    assert suggestion.setting is not None
    assert not suggestion.is_default
    better = score(found, suggestion.setting, faces.person, method)
    assert better > score(found, poor, faces.person, method) + 0.1


def test_the_plateau_is_connected_safe_steady_and_holds_the_suggestion(album):
    _, _, stability = album
    suggestion = suggest(stability, DEFAULT)
    assert suggestion.plateau[suggestion.cell]
    assert stability.setting(suggestion.cell) == suggestion.setting
    assert stability.is_safe[suggestion.plateau].all()
    assert (stability.moved[suggestion.plateau] <= STABLE).all()
    cells = set(map(tuple, np.argwhere(suggestion.plateau).tolist()))
    reached, todo = set(), [next(iter(cells))]
    while todo:
        cell = todo.pop()
        if cell in cells and cell not in reached:
            reached.add(cell)
            todo += [tuple(x + (i == axis) * step for i, x in enumerate(cell)) for axis in range(3) for step in (-1, 1)]
    assert reached == cells


def test_the_order_of_the_faces_does_not_matter(album):
    faces, _, stability = album
    order = np.random.default_rng(3).permutation(len(faces))
    other = stability_map(hierarchies(faces.vectors[order]), "eom", faces.photo[order], DEFAULT)
    assert same(other, stability)
    assert suggest(other, DEFAULT).setting == suggest(stability, DEFAULT).setting


def test_the_same_faces_give_the_same_map_and_it_can_be_saved(album):
    faces, found, stability = album
    assert same(stability_map(found, "eom", faces.photo, DEFAULT), stability)
    assert same(StabilityMap.from_arrays(stability.to_arrays()), stability)


def test_numbers_of_photos_do_not_matter_only_which_faces_share_one(album):
    faces, found, stability = album
    renamed = np.random.default_rng(1).permutation(int(faces.photo.max()) + 1).astype(np.int32)[faces.photo]
    assert same(stability_map(found, "eom", renamed, DEFAULT), stability)


# --- what is safe --------------------------------------------------------------------------------------------------


def test_photos_speak_against_settings_and_without_them_only_the_collapse_does(album):
    faces, found, stability = album
    unknown = stability_map(found, "eom", np.full(len(faces), -1, np.int32), DEFAULT)
    assert stability.knows_photos
    assert not unknown.knows_photos
    assert stability.is_contradicted.any()
    assert not unknown.is_contradicted.any()
    assert np.array_equal(unknown.is_collapsed, stability.is_collapsed)
    assert unknown.is_collapsed[:, :, -1].any()
    assert suggest(unknown, DEFAULT).setting == DEFAULT


def test_the_collapse_is_no_plateau_however_steady_it_is(album):
    _, _, stability = album
    steady = stability.is_collapsed & (stability.moved <= STABLE)
    assert steady.any(), "the collapse is steady: nothing is left to change"
    assert not suggest(stability, DEFAULT).plateau[steady].any()


def test_moved_is_the_worst_step_to_any_neighbour_on_the_field(album):
    _, _, stability = album
    a, b, c = 2, 1, 3
    steps = stability.found
    around = [steps.by_size[a, b - 1, c], steps.by_size[a, b, c], steps.by_epsilon[a, b, c - 1]]
    assert stability.moved[a, b, c] == max(*around, steps.by_epsilon[a, b, c])


# --- the axes ------------------------------------------------------------------------------------------------------


def test_epsilon_runs_over_the_distances_where_people_change(album):
    _, found, stability = album
    assert stability.min_samples == SAMPLES
    assert set(SIZES) <= set(stability.sizes)
    assert stability.epsilons[0] == DEFAULT.epsilon
    assert stability.epsilons[1] > 0.9
    assert 1.18 <= stability.epsilons[-1] <= 1.4
    assert np.diff(stability.epsilons[1:]).max() <= 0.05
    everybody = list(found.values())
    inside = epsilon_axis(everybody, (3,), "eom", 1.17)
    assert inside[0] == 0.0
    assert 1.17 in inside


def test_any_default_is_a_point_of_the_map(album):
    faces, found, _ = album
    for odd in (Setting(4, 7, 0.0), Setting(1, 33, 1.137), Setting(5, 2, 1.9)):
        stability = stability_map(found, "eom", faces.photo, odd)
        assert stability.setting(stability.cell(odd)) == odd


def test_a_setting_between_the_points_belongs_to_the_nearest(album):
    _, _, stability = album
    third, fourth = stability.epsilons[2:4]
    assert stability.cell(Setting(3, 3, 0.6 * third + 0.4 * fourth)) == stability.cell(Setting(3, 3, third))
    assert stability.cell(Setting(3, 3, 0.4 * third + 0.6 * fourth)) == stability.cell(Setting(3, 3, fourth))
    assert stability.cell(Setting(3, 3, stability.epsilons[1] - 0.05))[2] == 1, "what is far from strict is not strict"
    assert stability.cell(Setting(3, 50, 2.0))[1:] == (len(stability.sizes) - 1, len(stability.epsilons) - 1)
    assert stability.cell(Setting(3, 3, 0.0))[2] == 0


def test_a_missing_hierarchy_is_left_out_and_the_nearest_prepared_one_is_suggested(album):
    faces, found, _ = album
    some = {k: found[k] for k in (2, 4)}
    stability = stability_map(some, "eom", faces.photo, DEFAULT)
    assert stability.min_samples == (2, 4)
    assert suggest(stability, DEFAULT).setting.min_samples in some


# --- small sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["eom", "leaf", "cut"])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_next_to_no_faces_give_a_map_without_a_suggestion(method, n):
    drawn = np.random.default_rng(1).standard_normal((n, 16))
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    found = hierarchies(vectors, (1, 2))
    stability = stability_map(found, method, np.full(n, -1, np.int32), DEFAULT)
    suggestion = suggest(stability, DEFAULT)
    if n < 2:
        assert suggestion.setting is None
        assert not suggestion.plateau.any()
    assert stability.is_empty.any()


def test_strangers_alone_have_no_plateau():
    drawn = np.random.default_rng(4).standard_normal((40, 512))
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    stability = stability_map(hierarchies(vectors), "cut", np.arange(40, dtype=np.int32), DEFAULT)
    assert stability.is_empty[:, :, 0].all()
    assert suggest(stability, DEFAULT).setting is None


# --- real vectors --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.environ.get("FACECLUSTER_REAL_FACES"), reason="FACECLUSTER_REAL_FACES names no file")
def test_on_real_faces_the_defaults_are_steady_and_looser_settings_are_struck_out():
    with np.load(os.environ["FACECLUSTER_REAL_FACES"], allow_pickle=False) as file:
        vectors, photo, truth = file["vectors"], file["photo"].astype(np.int32), file["labels"]
    found = hierarchies(vectors)
    stability = stability_map(found, "eom", photo, DEFAULT)
    suggestion = suggest(stability, DEFAULT)
    assert score(found, suggestion.setting, truth) >= score(found, DEFAULT, truth) - 0.002
    assert 1.0 < stability.epsilons[1] <= 1.1
    strict, loose = stability.cell(DEFAULT), stability.cell(replace(DEFAULT, epsilon=1.20))
    assert suggestion.plateau[strict]
    assert stability.is_collapsed[loose]
    by_cut = suggest(stability_map(found, "cut", photo, DEFAULT), DEFAULT)
    assert score(found, by_cut.setting, truth, "cut") > score(found, DEFAULT, truth, "cut") + 0.1
