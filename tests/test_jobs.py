"""Long work in a real worker process: progress, cancel, a killed worker, and never two for one job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_library import make_library, open_library

from facecluster import jobs
from facecluster.config import load_settings
from facecluster.errors import CancelledError, InputError, StoreDataError
from facecluster.jobs import Jobs, JobState
from facecluster.wiring import open_jobs, perform

WAIT_S = 60


@pytest.fixture
def library(tmp_path):
    make_library(tmp_path, publish=False)
    return tmp_path / "library"


@pytest.fixture
def started(library):
    return open_jobs(load_settings(library=library))


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """Jobs whose worker says a word, then waits until it is cancelled or killed."""
    package = tmp_path / "slow" / "facecluster"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    root = Path(jobs.__file__).parent
    (package / "__main__.py").write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(root.parent)!r})\n"
        "del sys.modules['facecluster']\n"
        "from pathlib import Path\n"
        "from facecluster import jobs\n"
        "def wait(use_case, args, tell):\n"
        "    while True:\n"
        "        tell(0.25, 'Working')\n"
        "        time.sleep(0.02)\n"
        "jobs.work(Path(sys.argv[2]), wait)\n",
        "utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "slow"))
    monkeypatch.chdir(tmp_path / "slow")
    yield Jobs(tmp_path / "jobs", tmp_path / "library", "me")
    for state in (tmp_path / "jobs").glob("*.state"):
        pid = json.loads(state.read_text("utf-8"))["pid"]
        if pid:
            end(pid)


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(some, job, *wanted):
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        state = some.state(job)
        if state.status in wanted:
            return state
        time.sleep(0.02)
    pytest.fail(f"still {state} after {WAIT_S} s")


def working(some, job):
    """The worker's process number, once it has said its first word."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if some.state(job).message == "Working":
            return json.loads(some._path(job, "state").read_text("utf-8"))["pid"]
        time.sleep(0.02)
    pytest.fail("the worker never said a word")


def test_a_job_of_a_real_library_is_done_and_its_result_is_there(started, library):
    job = started.start("prepare", blur_threshold=50.0, min_samples=[1, 2])
    assert started.state(job).status == "running"
    assert wait_for(started, job, "done", "failed").status == "done"
    service = open_library(library)
    assert service._cache.has_hierarchy(service._hierarchies.base(service.view(), 50.0)[1], 2)
    started.forget(job)
    assert started.state(job).status == "none"


def test_a_job_of_an_unknown_kind_fails_with_a_sentence(started):
    job = started.start("no such work")
    state = wait_for(started, job, "done", "failed")
    assert state.status == "failed"
    assert "There is no work called 'no such work'" in state.message


def test_progress_is_told_and_time_left_is_not_guessed_too_early(slow):
    job = slow.start("anything")
    working(slow, job)
    state = slow.state(job)
    assert (state.status, state.fraction) == ("running", 0.25)
    assert JobState("running", 0.5, "", 10.0).seconds_left == 10.0
    assert JobState("running", 0.01, "", 10.0).seconds_left is None
    assert JobState("done", 1.0, "", 10.0).seconds_left is None


def test_a_cancelled_job_stops_and_can_be_started_again(slow):
    job = slow.start("anything")
    working(slow, job)
    slow.cancel(job)
    assert wait_for(slow, job, "cancelled").message == "Stopped. Nothing was changed."
    assert slow.start("anything") == job
    working(slow, job)


def test_a_worker_that_is_asked_to_end_by_the_system_cancels_its_job(slow):
    job = slow.start("anything")
    os.kill(working(slow, job), signal.SIGTERM)
    wait_for(slow, job, "cancelled")


def test_a_killed_worker_is_a_failed_job_with_a_sentence_and_a_second_start_works(slow):
    job = slow.start("anything")
    os.kill(working(slow, job), signal.SIGKILL)
    wait_for(slow, job, "failed")
    while "signal" not in (said := slow.state(job).message):  # written by a thread once the system has told it
        time.sleep(0.02)
    assert said == (
        "The worker stopped without finishing: ended by signal 9 (Killed). Nothing was changed. Start it again."
    )
    slow.start("anything")
    working(slow, job)


def test_what_a_dying_worker_wrote_last_is_part_of_the_sentence(slow, tmp_path):
    job = slow.start("anything")
    pid = working(slow, job)
    slow._path(job, "log").write_text("Traceback\nMemoryError: no more\n", "utf-8")
    os.kill(pid, signal.SIGKILL)
    assert "MemoryError: no more" in wait_for(slow, job, "failed").message


def test_two_starts_of_the_same_job_are_one_worker(slow):
    job = slow.start("anything", a=1)
    pid = working(slow, job)
    assert slow.start("anything", a=1) == job
    again = Jobs(slow._folder, slow._library, slow._user)  # as another process has it
    assert again.start("anything", a=1) == job
    time.sleep(0.3)
    assert working(slow, job) == pid
    assert slow.id("anything", a=2) != job


def test_many_starts_at_once_are_one_worker(slow):
    found = []
    threads = [threading.Thread(target=lambda: found.append(slow.start("anything"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = working(slow, found[0])
    assert len(set(found)) == 1
    count = subprocess.run(["pgrep", "-cf", str(slow._folder)], capture_output=True, text=True, check=False)
    assert count.stdout.strip() in ("1", "")  # "" where there is no pgrep
    assert working(slow, found[0]) == pid


def test_a_process_number_that_somebody_else_has_now_is_no_running_job(slow):
    job = slow.start("anything")
    end(working(slow, job))
    wait_for(slow, job, "failed")
    state = json.loads(slow._path(job, "state").read_text("utf-8"))
    slow._path(job, "state").write_text(json.dumps({**state, "pid": os.getpid()}), "utf-8")
    assert slow.state(job).status == "failed"
    slow._path(job, "state").unlink()  # or else the fixture would end the tests themselves


def test_a_running_job_cannot_be_forgotten(slow):
    job = slow.start("anything")
    working(slow, job)
    slow.forget(job)
    assert slow.state(job).status == "running"


def test_a_job_that_was_never_started_is_none(slow):
    assert slow.state("anything-0") == JobState("none")


def test_a_job_with_an_outcome_is_started_once_only(started):
    job = started.start_once("no such work")
    wait_for(started, job, "failed")
    assert started.start_once("no such work") == job
    assert started.state(job).status == "failed"


def test_a_lost_job_file_is_a_sentence(tmp_path):
    with pytest.raises(StoreDataError, match="There is no job"):
        jobs.read_spec(tmp_path / "gone.job")


def test_work_in_this_process_tells_and_stops(tmp_path):
    path = tmp_path / "a.job"
    path.write_text(json.dumps({"use_case": "x", "args": {"a": 1}, "library": "", "user": ""}), "utf-8")
    seen = []

    def do(use_case, args, tell):
        tell(0.5, "Half")
        seen.append((use_case, args, json.loads(path.with_suffix(".state").read_text("utf-8"))["fraction"]))
        path.with_suffix(".cancel").touch()
        with pytest.raises(CancelledError):
            tell(0.6, "More")
        raise InputError("That cannot be.")

    old = signal.getsignal(signal.SIGTERM)
    try:
        jobs.work(path, do)
    finally:
        signal.signal(signal.SIGTERM, old)
    assert seen == [("x", {"a": 1}, 0.5)]
    assert json.loads(path.with_suffix(".state").read_text("utf-8"))["message"] == "That cannot be."


def test_the_use_cases_of_jobs_do_what_they_say(library):
    service = open_library(library)
    told = []
    perform(service, "prepare", {"blur_threshold": 50.0, "min_samples": [2]}, lambda share, words: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
    with pytest.raises(InputError, match="no work called"):
        perform(service, "anything", {}, lambda share, words: None)


def test_what_the_user_set_for_blas_stays(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert jobs.blas_environment() == {}
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    assert set(jobs.blas_environment().values()) <= {"SKYLAKEX"}


def test_the_worker_knows_its_blas_before_numpy_is_loaded():
    code = "import facecluster.cli, sys; assert 'numpy' not in sys.modules"
    root = Path(jobs.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
