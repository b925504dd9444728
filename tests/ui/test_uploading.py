"""Importing from the page: in an empty library, and into one's own from the demo."""

from __future__ import annotations

import time

import pytest

from facecluster.service import Service
from facecluster.uploads import keep, waiting
from facecluster.wiring import uploads_of
from tests.small_library import write_faces


def until_imported(page, service: Service):
    for _ in range(300):
        if len(service.view().faces):
            break
        time.sleep(0.1)
    for _ in range(100):
        page.run()
        if not any(bar for bar in page.get("progress")):
            break
        time.sleep(0.1)
    assert not page.exception
    return page


@pytest.mark.parametrize("name", ["people", "status"])
def test_faces_are_imported_on_the_page_and_lead_to_tune(app, empty_library: Service, texts, tmp_path, name):
    page = app(name)
    content = write_faces(tmp_path / "faces.npz").read_bytes()
    page.file_uploader(key="upload-0").set_value(("faces.npz", content, "application/octet-stream")).run()
    assert page.button(key="upload-import").label.startswith("Import 1 file, ")
    page.button(key="upload-import").click().run()
    until_imported(page, empty_library)
    assert "60 faces added, 0 replaced, 0 there already." in texts(page)
    assert len(empty_library.view().faces) == 60
    close = next(button for button in page.button if button.key.startswith("upload-close-"))
    close.click().run()
    assert waiting(uploads_of(empty_library.settings)) == []
    assert "60 faces added" not in texts(page)


def test_every_page_of_an_empty_library_offers_to_import(app, empty_library: Service, texts):
    for name in ("people", "map", "find", "review", "tune", "noise"):
        page = app(name)
        assert "No faces yet" in texts(page), name
        assert page.file_uploader(key="upload-0"), name
        assert page.button(key="first-demo").label == "Look around in the demo first", name


def test_the_demo_leads_to_importing_ones_own(app, demo_library: Service, texts):
    page = app("status")
    assert "Import faces of your own" in texts(page)
    assert page.file_uploader(key="upload-0")


def test_files_that_a_stopped_server_left_behind_can_be_imported_or_dropped(
    app, empty_library: Service, texts, tmp_path
):
    with write_faces(tmp_path / "faces.npz").open("rb") as content:
        keep(uploads_of(empty_library.settings), [("faces.npz", content)])
    page = app("status")
    assert "These files were sent and not imported" in texts(page)
    page.button(key="upload-drop").click().run()
    assert waiting(uploads_of(empty_library.settings)) == []
    assert page.file_uploader(key="upload-0")
