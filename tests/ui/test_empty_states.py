"""What each page says of a library in which there is nobody, and where it leads."""

from __future__ import annotations

import pytest

from facecluster.service import Service
from tests.small_library import PARAMS, faces, write_faces


@pytest.fixture
def filled(empty_library: Service, tmp_path) -> Service:
    empty_library.import_files([write_faces(tmp_path / "faces.npz", **faces())])
    return empty_library


@pytest.fixture
def aside(filled: Service) -> Service:
    """Published, and then every face set aside."""
    filled.publish(filled.plan(PARAMS))
    filled.mark(list(filled.view().faces.ids), "ignored")
    return filled


@pytest.mark.parametrize("name", ["people", "map", "noise", "review"])
def test_faces_without_a_run_wait_and_lead_to_tune(app, empty_library: Service, filled: Service, texts, name):
    page = app(name)
    assert "Nobody found yet" in texts(page)
    assert "Find people on Tune" in [link.proto.label for link in page.get("page_link")]


@pytest.mark.parametrize("name", ["people", "map", "noise", "find", "review"])
def test_a_library_of_which_every_face_is_set_aside_says_so(app, empty_library: Service, aside: Service, texts, name):
    page = app(name)
    assert "Every face is set aside" in texts(page)
    assert "wait to be sorted" not in texts(page)
    assert "Every face has its person" not in texts(page)
