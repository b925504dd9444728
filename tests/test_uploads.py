"""Files that a browser sent: where they lie, what is left of them, and what the report says."""

from __future__ import annotations

import io

import numpy as np
import pytest

from facecluster.errors import CancelledError, InputError, StoreUnavailableError
from facecluster.uploads import drop, import_all, keep, report_of, waiting
from facecluster.wiring import perform, uploads_of
from tests.small_library import faces, open_library, write_faces


@pytest.fixture
def library(tmp_path):
    return open_library(tmp_path / "library")


def npz(tmp_path, name="faces.npz", **given) -> tuple[str, io.BytesIO]:
    columns = faces(**given)
    return name, io.BytesIO(write_faces(tmp_path / "sent.npz", **columns).read_bytes())


def files_below(root):
    return [path for path in root.rglob("*") if path.is_file()]


def test_files_are_imported_and_deleted_and_a_report_is_left(library, tmp_path):
    root = uploads_of(library.settings)
    folder = keep(root, [npz(tmp_path), npz(tmp_path, "more.npz", seed=1, prefix="more")])
    assert waiting(root) == [folder]
    assert report_of(folder) is None
    told = []
    perform(library, "import", {"folder": folder.name}, lambda share, text: told.append((share, text)))
    report = report_of(folder)
    assert report.added == 120 == len(library.view().faces)
    assert [path.name for path in files_below(root)] == ["report.json"]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert any("faces.npz" in text for _, text in told)
    drop(folder)
    assert waiting(root) == []


def test_a_file_that_cannot_be_read_is_said_and_stops_no_other(library, tmp_path):
    folder = keep(uploads_of(library.settings), [("notes.npz", io.BytesIO(b"no archive")), npz(tmp_path)])
    perform(library, "import", {"folder": folder.name}, lambda *_: None)
    report = report_of(folder)
    assert report.added == 60
    (problem,) = report.problems
    assert problem.startswith("notes.npz is damaged or no .npz file")


def test_every_problem_names_the_file_that_has_it(library, tmp_path):
    columns = faces() | {"vectors": np.ones((3, 16))}
    odd = ("odd.npz", io.BytesIO(write_faces(tmp_path / "sent.npz", **columns).read_bytes()))
    folder = keep(uploads_of(library.settings), [odd, ("notes.npz", io.BytesIO(b"no archive"))])
    perform(library, "import", {"folder": folder.name}, lambda *_: None)
    assert [text.split(" ")[0].strip(":") for text in report_of(folder).problems] == ["odd.npz", "notes.npz"]


def test_faces_that_are_refused_are_named_with_the_reason(library, tmp_path):
    columns = faces()
    columns["vectors"][3] = np.nan
    content = io.BytesIO(write_faces(tmp_path / "sent.npz", **columns).read_bytes())
    folder = keep(uploads_of(library.settings), [("faces.npz", content)])
    perform(library, "import", {"folder": folder.name}, lambda *_: None)
    report = report_of(folder)
    assert (report.added, report.n_refused) == (59, 1)
    assert report.refused[0][0] == "face-003"
    assert report.refused[0][1]


def test_what_was_stopped_says_how_much_was_imported_and_leaves_no_file(library, tmp_path):
    root = uploads_of(library.settings)
    folder = keep(root, [npz(tmp_path), npz(tmp_path, "more.npz", seed=1, prefix="more")])

    def stop(share, text):
        if "more.npz" in text:
            raise CancelledError("Stopped. Nothing was changed.")

    with pytest.raises(CancelledError, match="60 faces of the files before were imported"):
        import_all(folder, library.import_files, stop)
    assert len(library.view().faces) == 60
    assert [path.name for path in files_below(root)] == ["report.json"]
    assert "60 faces" in report_of(folder).problems[0]


def test_nothing_was_changed_where_the_first_file_was_stopped(library, tmp_path):
    folder = keep(uploads_of(library.settings), [npz(tmp_path)])

    def stop(share, text):
        raise CancelledError("Stopped. Nothing was changed.")

    with pytest.raises(CancelledError, match=r"Stopped\. Nothing was changed\."):
        import_all(folder, library.import_files, stop)
    assert len(library.view().faces) == 0


def test_what_a_store_could_not_take_stays_and_is_imported_by_the_next_try(library, tmp_path):
    root = uploads_of(library.settings)
    folder = keep(root, [npz(tmp_path), npz(tmp_path, "more.npz", seed=1, prefix="more")])
    n_left = [1]

    def fails(paths, progress):
        if not n_left:
            raise StoreUnavailableError("Another process holds the library. Nothing was changed. Try again.")
        n_left.pop()
        return library.import_files(paths, progress)

    with pytest.raises(StoreUnavailableError):
        import_all(folder, fails)
    assert report_of(folder) is None
    import_all(folder, library.import_files)
    report = report_of(folder)
    assert (report.added, report.unchanged) == (60, 60)
    assert len(library.view().faces) == 120
    assert [path.name for path in files_below(root)] == ["report.json"]


def test_a_second_window_that_asks_for_the_same_import_leaves_its_report(library, tmp_path):
    folder = keep(uploads_of(library.settings), [npz(tmp_path)])
    for _ in range(2):
        perform(library, "import", {"folder": folder.name}, lambda *_: None)
    assert report_of(folder).added == 60


class Watched(io.BytesIO):
    """A file that looks at what waits while it is being written, and may fail."""

    def __init__(self, root, fails=False):
        super().__init__(b"half of it")
        self.root, self.fails, self.seen = root, fails, []

    def read(self, *size):
        self.seen.append(waiting(self.root))
        if self.fails:
            raise OSError(28, "No space left on device")
        return super().read(*size)


def test_files_that_are_still_being_written_do_not_wait_to_be_imported(tmp_path):
    file = Watched(tmp_path)
    folder = keep(tmp_path, [("faces.npz", file)])
    assert file.seen
    assert not any(file.seen)
    assert waiting(tmp_path) == [folder]


def test_files_that_cannot_be_written_are_said_and_nothing_of_them_is_kept(tmp_path):
    with pytest.raises(InputError, match=r"No space left on device\. Nothing was imported"):
        keep(tmp_path, [("one.npz", io.BytesIO(b"x")), ("two.npz", Watched(tmp_path, fails=True))])
    assert files_below(tmp_path) == []
    assert waiting(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd.npz", "passwd.npz"),
        ("C:\\photos\\faces.csv", "faces.csv"),
        ("..", "faces"),
        ("a\x00b<script>.npz", "a_b_script_.npz"),
        ("Gesichter (2024) Größe.npz", "Gesichter (2024) Größe.npz"),
        ("x" * 300 + ".npz", "x" * 56 + ".npz"),
        ("𠮷" * 300 + ".npz", "𠮷" * 56 + ".npz"),
    ],
)
def test_a_name_leads_nowhere_else_and_keeps_its_ending(tmp_path, name, kept):
    folder = keep(tmp_path / "uploads", [(name, io.BytesIO(b"x"))])
    assert [path.name for path in files_below(folder)] == [kept]
    assert all(folder in path.parents for path in files_below(tmp_path))


def test_a_job_reaches_no_folder_outside_its_own(library, tmp_path):
    outside = tmp_path / "elsewhere" / "000"
    outside.mkdir(parents=True)
    (outside / "faces.npz").write_bytes(b"mine")
    with pytest.raises(FileNotFoundError):
        perform(library, "import", {"folder": "../../../elsewhere"}, lambda *_: None)
    assert (outside / "faces.npz").read_bytes() == b"mine"
