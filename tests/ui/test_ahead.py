"""What is asked for is made once and kept, and what is likely next is made meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from facecluster.errors import StoreError
from facecluster.ui import ahead, tuning
from facecluster.ui.ahead import Kept, page_is_drawn


def until(is_so) -> None:
    end = time.monotonic() + 20
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    assert is_so()


class Made:
    """Makers that note what they made."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def maker(self, key: str):
        def make() -> str:
            self.keys.append(key)
            return key.upper()

        return make

    def likely(self, *keys: str):
        return [(key, self.maker(key)) for key in keys]


def test_a_result_is_made_once_and_the_longest_unused_is_given_up():
    made, kept = Made(), Kept[str](2)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert kept.get(key, made.maker(key)) == key.upper()
    assert made.keys == ["a", "b", "c", "b"]


def test_what_nobody_can_ask_for_again_is_forgotten_and_nothing_else():
    made, kept = Made(), Kept[str](9)
    for key in ("old a", "old b", "new a"):
        kept.get(key, made.maker(key))
    kept.forget(lambda key: key.startswith("old"))
    assert [*kept._found] == ["new a"]


def test_what_is_likely_next_is_there_when_it_is_asked_for():
    made, kept = Made(), Kept[str](9)
    kept.get("a", made.maker("a"))
    kept.ahead(made.likely("b", "a", "c"))
    until(lambda: made.keys == ["a", "b", "c"])
    assert kept.get("c", made.maker("wrong")) == "C"


def test_who_asks_while_it_is_being_made_waits_for_it():
    begun, may_end, made, kept = threading.Event(), threading.Event(), Made(), Kept[str](9)

    def slow() -> str:
        begun.set()
        may_end.wait(20)
        return made.maker("slow")()

    kept.ahead([("slow", slow)])
    assert begun.wait(20)
    threading.Timer(0.05, may_end.set).start()
    assert kept.get("slow", made.maker("wrong")) == "SLOW"
    assert made.keys == ["slow"]


def test_a_question_takes_the_place_of_what_was_likely():
    begun, may_end, made, kept = threading.Event(), threading.Event(), Made(), Kept[str](9)
    kept.ahead([("first", lambda: begun.set() or str(may_end.wait(20))), *made.likely("second")])
    assert begun.wait(20)
    kept.get("other", made.maker("other"))
    may_end.set()
    kept.ahead(made.likely("third"))
    until(lambda: "third" in made.keys)
    assert made.keys == ["other", "third"]


def test_what_fails_ahead_of_time_fails_again_for_who_asks_and_stops_nothing():
    made, kept, n = Made(), Kept[str](9), []

    def fail() -> str:
        n.append(1)
        raise StoreError("The store is away. Nothing was read. Try again.")

    kept.ahead([("bad", fail), *made.likely("good")])
    until(lambda: made.keys == ["good"])
    with pytest.raises(StoreError, match="away"):
        kept.get("bad", fail)
    assert len(n) == 2
    assert kept.get("bad", made.maker("bad")) == "BAD"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_what_is_made_ahead_does_not_end_the_making():
    made, kept = Made(), Kept[str](9)
    kept.ahead([("bug", lambda: str(1 // 0))])
    until(lambda: kept._worker is None)
    kept.ahead(made.likely("next"))
    until(lambda: made.keys == ["next"])


def test_a_plan_that_was_made_ahead_is_the_plan_that_is_made_now(demo_library):
    demo_library.prepare(demo_library.defaults.blur_threshold)
    params = replace(demo_library.defaults, min_cluster_size=4)
    version = demo_library.view().version
    ahead = tuning._bench(demo_library, "demo", version, params)
    now = demo_library.plan(params)
    assert ahead.plan.run.id == now.run.id
    assert ahead.plan.change.decisions == now.change.decisions
    demo_library.rename(demo_library.view().people()[0].id, "Anna")
    with pytest.raises(tuning.StaleWriteError, match="changed meanwhile"):
        tuning._bench(demo_library, "demo", version, params)


def test_plans_are_made_one_after_the_other(demo_library, monkeypatch):
    demo_library.prepare(demo_library.defaults.blur_threshold)
    monkeypatch.setattr(tuning, "_turn", threading.BoundedSemaphore(1))
    version, at_work, most = demo_library.view().version, [], []
    reckoned = tuning._reckoned

    def watched(*given):
        at_work.append(given)
        most.append(len(at_work))
        time.sleep(0.05)
        try:
            return reckoned(*given)
        finally:
            at_work.pop()

    monkeypatch.setattr(tuning, "_reckoned", watched)
    several = [replace(demo_library.defaults, min_cluster_size=size) for size in (3, 4, 5, 6)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda params: tuning._bench(demo_library, "demo", version, params), several))
    assert most == [1] * 4
    assert [one.plan.params["min_cluster_size"] for one in found] == [3, 4, 5, 6]


def test_nothing_is_made_ahead_while_anybody_looks_at_a_page(monkeypatch):
    monkeypatch.setattr(ahead, "_PAUSE_S", 0.05)
    made, kept = Made(), Kept[str](9)
    kept.get("a", made.maker("a"))
    kept.ahead(made.likely("b"))
    for _ in range(10):
        with page_is_drawn():
            time.sleep(0.1)
        assert made.keys == ["a"]
    until(lambda: made.keys == ["a", "b"])


def test_the_next_is_made_after_a_pause_as_long_as_the_one_before_took(monkeypatch):
    monkeypatch.setattr(ahead, "_PAUSE_S", 0.05)
    began, kept, may_end = [], Kept[str](9), threading.Event()

    def slow() -> str:
        began.append(time.monotonic())
        may_end.wait(20)
        time.sleep(0.5)
        return "slow"

    kept.ahead([("slow", slow), ("next", lambda: str(began.append(time.monotonic())))])
    until(lambda: began)
    with page_is_drawn():
        may_end.set()
        until(kept._found["slow"].done)
    drawn = time.monotonic()
    until(lambda: len(began) == 2)
    assert began[1] - drawn >= 0.4
