"""What is drawn on the map and which faces a shape holds."""

from __future__ import annotations

import numpy as np
import pytest

from facecluster.service import Service
from facecluster.ui import charts


def naive_inside(point, corners) -> bool:
    """The even-odd rule, one point and one edge at a time."""
    x, y = point
    found = False
    for i, (ax, ay) in enumerate(corners):
        bx, by = corners[i - 1]
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            found = not found
    return found


@pytest.mark.parametrize("n_corners", [0, 1, 2, 3, 4, 30])
def test_a_polygon_holds_the_points_that_the_plain_rule_says(n_corners):
    drawn = np.random.default_rng(n_corners)
    xy = drawn.uniform(-1, 1, (500, 2)).astype(np.float32)
    corners = drawn.uniform(-1, 1, (n_corners, 2))
    found = charts.inside(xy, corners[:, 0].tolist(), corners[:, 1].tolist())
    assert found.tolist() == [naive_inside(point, corners) for point in xy.astype(float)]


def test_a_box_is_told_by_two_corners_in_any_order():
    xy = np.array([[0, 0], [1, 1], [3, 3]], np.float32)
    for x, y in (([-1, 2], [-1, 2]), ([2, -1], [-1, 2])):
        assert charts.enclosed({"box": [{"x": x, "y": y}]}, xy).tolist() == [0, 1]


def test_a_click_takes_the_point_that_was_hit_and_a_lasso_only_what_is_inside():
    xy = np.array([[0, 0], [1, 1], [3, 3]], np.float32)
    hit = [{"x": 1.0, "y": 1.0}]
    assert charts.enclosed({"points": hit}, xy).tolist() == [1]
    far_away = {"lasso": [{"x": [8, 9, 9], "y": [8, 8, 9]}], "points": hit}
    assert charts.enclosed(far_away, xy).tolist() == []
    assert charts.enclosed({}, xy).tolist() == []


def test_few_points_are_all_drawn():
    assert charts.drawn(np.zeros(10, np.int32), most=10).tolist() == list(range(10))


def test_of_many_points_everybody_keeps_some_and_the_choice_is_the_same_each_time():
    owner = np.repeat(np.array([-1, 0, 1, 2], np.int32), [5000, 4000, 20, 5])
    owner = owner[np.random.default_rng(1).permutation(len(owner))]
    some = charts.drawn(owner, most=1000, least=8)
    assert len(some) == 1000
    assert np.array_equal(some, np.unique(some))
    assert np.array_equal(some, charts.drawn(owner, most=1000, least=8))
    assert (owner[some] == 2).sum() == 5
    assert (owner[some] == 1).sum() >= 8
    assert 0.45 < (owner[some] == -1).mean() < 0.65


def test_people_beside_each_other_have_different_hues_that_depend_on_who_they_are():
    people = [f"p-{i}" for i in range(200)]
    centres = np.random.default_rng(0).uniform(size=(200, 2))
    found = charts.hues(people, centres)
    assert set(found.tolist()) == set(range(12))
    for i in range(1, 200):
        away = ((centres[:i] - centres[i]) ** 2).sum(axis=1)
        assert found[i] not in found[np.argsort(away)[:6]]
    assert charts.hues(people[:1], centres[:1])[0] == charts.hues(people[:1], centres[5:6])[0]


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_hues_are_those_of_the_theme(is_dark):
    import tomllib
    from pathlib import Path

    config = Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml"
    theme = tomllib.loads(config.read_text("utf-8"))["theme"]["dark" if is_dark else "light"]
    ink = charts._DARK if is_dark else charts._LIGHT
    assert list(ink.hues) == theme["chartCategoricalColors"]
    assert (ink.paper, ink.card, ink.text, ink.muted) == tuple(
        theme[key] for key in ("backgroundColor", "secondaryBackgroundColor", "textColor", "grayTextColor")
    )


def test_nothing_of_the_map_is_offered_to_anybody_elses_server():
    assert charts.CONFIG["showSendToCloud"] is False
    assert charts.CONFIG["plotlyServerURL"] == ""
    assert charts.CONFIG["displaylogo"] is False


def test_a_name_on_the_map_is_text_and_never_markup(demo_library: Service):
    person = demo_library.view().cards[0].id
    demo_library.rename(person, "<a href='http://x'>B</a> & Co")
    view = demo_library.view()
    rows = np.arange(len(view.faces))
    places = np.random.default_rng(0).normal(size=(len(rows), 2)).astype(np.float32)
    figure = charts.people_map(view, charts.FaceMap.of(view, rows, places), "key", False)
    said = [trace.hovertext for trace in figure.data]
    words = "".join("".join(texts) for texts in said) + "".join(label.text for label in figure.layout.annotations)
    assert "&lt;a href='http://x'&gt;B&lt;/a&gt; &amp; Co" in words
    assert "<a" not in words


def test_noise_is_drawn_first_and_a_chosen_person_last(demo_library: Service):
    view = demo_library.view()
    rows = np.arange(len(view.faces))
    places = np.random.default_rng(0).normal(size=(len(rows), 2)).astype(np.float32)
    points = charts.FaceMap.of(view, rows, places)
    plain = charts.people_map(view, points, "key", False)
    assert len(plain.data[0].x) == (points.owner < 0).sum()
    assert plain.data[0].x.dtype == np.float32
    chosen = view.cards[3]
    figure = charts.people_map(view, points, "key", False, chosen.id)
    assert len(figure.data[-1].x) == chosen.n_faces
    assert figure.data[1].marker.opacity < figure.data[-1].marker.opacity
    assert figure.layout.xaxis.range is not None


def test_faces_set_aside_are_not_on_the_map(demo_library: Service):
    face = demo_library.view().faces.ids[0]
    demo_library.mark([face], "ignored")
    view = demo_library.view()
    places = np.zeros((len(view.faces), 2), np.float32)
    assert 0 not in charts.FaceMap.of(view, np.arange(len(view.faces)), places).row
