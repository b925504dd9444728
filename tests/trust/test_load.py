"""A few curators at once on a real server: everything is answered, nothing fails, nobody sees another library."""

import asyncio

import numpy as np
import psutil
import pytest
from servers.streamlit_client import Tab
from small_library import faces, open_library, write_faces

from trust.curators import ACTS, Log, Owner, Timed
from trust.load import by_act, crowd, start, stop, too_slow, tracebacks, warm, weight
from trust.soak import judged, slope

# A server beside three other jobs gets a second try; the summary says so.
pytestmark = pytest.mark.flaky(reruns=1)

OWNER = Owner("local", "anna")
SESSIONS = 3
SECONDS = 8.0


def library(folder, mark="anna"):
    """Sixty faces whose ids tell whose they are, with every position of the sliders prepared."""
    service = open_library(folder / "library")
    columns = faces()
    columns["ids"] = np.array([f"{mark}-{i:07}" for i in range(len(columns["ids"]))])
    service.import_files([write_faces(folder / "faces.npz", **columns)])
    service.prepare(service.defaults.blur_threshold)
    service.publish(service.plan(service.defaults), author="setup")
    return folder / "library"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    running = start(library(tmp_path_factory.mktemp("load")))
    yield running
    stop(running)


def test_curators_at_once_are_all_answered_and_see_their_own_library_only(dashboard):
    log = Log()
    asyncio.run(warm(dashboard, 1, log, [OWNER]))
    asyncio.run(crowd(dashboard, SESSIONS, SECONDS, 1, log, pace=0.05, owners=[OWNER]))
    assert not log.failures
    assert not tracebacks(dashboard)
    done = {one.act for one in log.timed}
    assert done >= {"People", "search", "sort", "open a person", "rename", "Tune", "move a slider", "Noise", "History"}
    assert len(log.timed) > 10 * SESSIONS
    assert len(log.scopes["local"]) == 1  # addresses of one library, the same for all its sessions


def test_a_face_of_another_library_is_noticed(dashboard):
    """The check itself: these sessions are sent Anna's faces and believe that they are Berta's."""
    log = Log()
    asyncio.run(warm(dashboard, 1, log, [Owner("berta", "berta")]))
    assert any("was sent faces of ['anna']" in one for one in log.failures)


def test_two_users_with_addresses_of_one_library_are_noticed():
    log = Log()
    log.scopes["a"], log.scopes["b"], log.scopes["c"] = {"1", "2"}, {"2"}, {"3"}
    assert log.foreign() == ["a and b were given addresses of one library"]


def test_a_name_that_nobody_says_was_given_is_a_failure(dashboard, monkeypatch):
    """What came back is read: a rename after which no sentence stands there is not counted as done."""
    log = Log()
    monkeypatch.setattr(Tab, "texts", lambda tab: [])
    asyncio.run(warm(dashboard, 5, log, [OWNER]))
    assert [one for one in log.failures if "nothing said so" in one]


def test_percentiles_above_what_is_promised_are_failures():
    slow = [Timed("People", "view", 0.1 * i, 10, 0.0) for i in range(1, 21)]
    fast = [Timed("Tune", "extract", 0.5, 10, 0.0)] * 20
    assert too_slow([*slow, *fast], "here") == ["here: p95 of view is 1.91 s, 1 s are promised"]
    assert by_act(fast) == ["Tune                 20  0.50/0.50/0.50 s  0 kB"]


def test_memory_that_grows_is_a_failure_and_memory_that_wavers_is_none():
    rng = np.random.default_rng(3)
    at = [5.0 * i for i in range(720)]
    wavers = [500 + rng.normal(0, 3) for _ in at]
    grows = [value + 60 * t / 3600 for value, t in zip(wavers, at, strict=True)]
    assert abs(slope(at, grows)[0] - 60) < 3
    assert not judged(at, wavers, [40] * len(at), 3600, timed()).failures
    assert "memory grows by" in judged(at, grows, [40] * len(at), 3600, timed()).failures[0]
    assert "too short" in judged(at[:100], grows[:100], [40] * 100, 500, timed()).not_run
    leaks = [40 + i // 50 for i in range(len(at))]
    assert "file handles grow" in judged(at, wavers, leaks, 3600, timed()).failures[0]


def timed():
    return Log(timed=[Timed("People", "view", 0.1, 10, 0.0)])


def test_acts_have_weights_of_a_hundred_in_all_and_the_server_can_be_weighed():
    assert sum(act.weight for act in ACTS.values()) == 100
    assert weight(psutil.Process()).own_mb > 10
