"""Acts that are cut short by a kill, a failing disk or a power cut; `python -m trust` tries every point there is."""

from __future__ import annotations

import errno
import random

import pytest

from trust import acts, disk, faults, kills, power, states


@pytest.fixture(scope="module")
def made():
    try:
        disk.built()
    except RuntimeError as exc:
        pytest.skip(str(exc))
    with states.trials() as trials:
        yield trials


def points(act: str) -> int:
    """Every so many of its points, so that each act is killed five times and more."""
    return {"rename": 2, "prepare": 70, "erase": 14, "publish": 7, "import": 7}.get(act, 4)


@pytest.mark.parametrize("act", states.ACTS)
def test_a_kill_leaves_the_old_library_or_the_new_one(made, act, tell):
    found = kills.walk(made, act, disk.KILL, points(act))
    torn = kills.walk(made, act, disk.TEAR, 3 * points(act))
    assert found.failures + torn.failures == []
    assert found.n >= 3, "the act must have changed files"
    tell(f"{act}: killed at {found.n + torn.n} of its changes of a file")


@pytest.mark.parametrize("act", states.ACTS)
@pytest.mark.parametrize("number", list(disk.ERRORS), ids=errno.errorcode.get)
def test_a_failing_disk_is_one_sentence_and_leaves_what_was(made, act, number):
    stride = {"prepare": 110, "erase": 35}.get(act, 15) if number in (errno.EIO, errno.ENOSPC) else 20
    found = faults.everywhere(made, act, number, disk.FAIL_ON, stride, start=len(act) % 3)
    assert found.failures == []


def test_a_full_disk_is_named_in_the_sentence(made):
    end, at = disk.End(False), 0
    while "-wal" not in end.hit:
        library, at = made.fresh("publish"), at + 1
        end = made.nursery.do("publish", library, kinds=disk.WRITE, how=disk.FAIL_ON, at=at, number=errno.ENOSPC)
    assert end.is_ours
    assert "full" in end.message
    assert made.broken("publish", library, claims_nothing=True) == ""


def test_a_power_cut_leaves_what_was_acknowledged(made, tell):
    chance = random.Random(0)  # noqa: S311
    n = 0
    for act in states.ACTS:
        one = power.record(made, act)
        moments = [len(one.calls), *chance.choices(range(len(one.calls)), k=2)]
        for moment in moments:
            assert power.state(made, one, moment, chance) == "", f"{act} cut after call {moment}"
            n += 1
    tell(f"the power cut at {n} moments")


def test_every_edit_that_was_acknowledged_is_there_after_a_kill_at_any_moment(made, tell):
    library = made.fresh("rename")
    n_edits = 0
    for seed in range(4):
        n, wrong = kills.killed_while_editing(made, library, seed)
        assert wrong == []
        n_edits += n
    assert n_edits > 0
    tell(f"4 processes killed while they edit: all of {n_edits} acknowledged edits are there")


def test_a_library_killed_in_a_publish_opens_at_once(tmp_path):
    opened, read = kills.recovery(tmp_path, 2_000)
    assert opened <= read < 10


def test_what_a_disk_may_hold_is_what_was_synced_and_some_of_the_rest(tmp_path):
    """The rebuilt states themselves: nothing synced is missing, and what was not synced may be."""
    (tmp_path / "a").write_bytes(b"old")
    path = str(tmp_path / "a")
    seen, chance = set(), random.Random(0)  # noqa: S311
    for _ in range(60):
        here = power.Disk(tmp_path)
        here.happen(power.Call("write", path, "", 0, b"new"))
        here.happen(power.Call("sync", path, "", 0, b""))
        here.happen(power.Call("write", path, "", 3, b"er"))
        here.happen(power.Call("rename", path, f"{path}.b", 0, b""))
        left = here.left(chance)
        seen.add(tuple((name.removeprefix(path), data) for name, data in left.items()))
    assert seen == {(("", b"new"),), (("", b"newer"),), ((".b", b"new"),), ((".b", b"newer"),)}


def test_the_shim_counts_what_an_act_changes(made):
    library = made.fresh("rename")
    before = acts.told(library)
    end = made.nursery.do("rename", library)
    assert end.n > 8
    assert acts.told(library) != before
