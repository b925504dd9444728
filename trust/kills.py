"""R4: a process killed at any moment leaves what was there before or what comes after, and every edit that it said."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import small_library
from contracts.changes import plain_run, publish

from facecluster.config import load_settings
from facecluster.model import Decision, FaceId
from facecluster.wiring import open_service
from trust.acts import acknowledgements, batch_of, told
from trust.disk import CHANGES, KILL, TEAR, built
from trust.measure import Found, Measure, cases
from trust.states import ACTS, Trials, performed, trials


def killed_at(made: Trials, act: str, at: int, how: int) -> tuple[bool, str]:
    """Do an act and be killed as this change begins, or within it: whether it was, and what is wrong by then."""
    library = made.fresh(act)
    end = made.nursery.do(performed(act), library, kinds=CHANGES, how=how, at=at)
    if end.error:
        return end.is_killed, f"{act}: {end.error}: {end.message}"
    wrong = made.broken(act, library)
    made.let_go(library)
    return end.is_killed, f"{act} killed {'in' if how == TEAR else 'before'} change {at}: {wrong}" if wrong else ""


def walk(made: Trials, act: str, how: int, stride: int = 1) -> Found:
    """Kill an act at every point, or every so many, until it ends by itself."""
    found = Found()
    for at in count(0, stride):
        is_killed, wrong = killed_at(made, act, at, how)
        if wrong:
            found.failures.append(wrong)
        if not is_killed:
            return found
        found.n += 1


def everywhere(seed: int, seconds: float) -> Found:
    """All acts, killed before each change to a file and in the middle of each."""
    del seed  # every point there is: there is nothing to choose
    del seconds
    try:
        built()
    except RuntimeError as exc:
        return Found(not_run=str(exc))
    found = Found()
    points = []
    with trials() as made:
        for act in ACTS:
            for how in (KILL, TEAR):
                walked = walk(made, act, how)
                found.n += walked.n
                found.failures += walked.failures
                points.append(f"{act} {walked.n}" if how == KILL else "")
    found.note = f"points of each act: {', '.join(filter(None, points))}; each of them before and in the middle"
    return found


def killed_while_editing(made: Trials, library: Path, seed: int) -> tuple[int, list[str]]:
    """Let a process edit and tell of each edit, kill it at a moment by chance: edits it told of, and what is wrong."""
    chance = random.Random(seed)
    acknowledgements(library).unlink(missing_ok=True)
    before = small_library.open_library(library).view().snapshot.revision
    end = made.nursery.do(f"edits {seed}", library, kinds=0, seconds=chance.uniform(0.05, 0.8))
    if not end.is_killed:
        return 0, [f"seed {seed}: it ended by itself: {end.error}: {end.message}"]
    lines = acknowledgements(library).read_text("utf-8").splitlines() if acknowledgements(library).exists() else []
    edits = [json.loads(line) for line in lines]
    found = told(library)
    log = {revision: decisions for revision, _, decisions, *_ in found["log"]}  # type: ignore[attr-defined]
    wrong = [
        f"seed {seed}: the edit of revision {revision}, {key}, was told and is not there"
        for revision, key, value in edits
        if not says(log.get(revision, ()), log, revision, tuple(key), value)
    ]
    last = edits[-1][0] if edits else before
    if max(log) not in (last, last + 1):
        wrong.append(f"seed {seed}: revision {max(log)} is there, and {last} was told last")
    facts: dict[tuple[str, str, str], str] = {}
    for revision in sorted(log):
        for said in log[revision]:
            if facts.get(said.key) != said.before:
                wrong.append(f"seed {seed}: revision {revision} stands on what was not there")
            facts |= {said.key: said.value}
    if {key: value for key, value in facts.items() if value is not None} != found["facts"]:
        wrong.append(f"seed {seed}: the facts are not what the log tells")
    return len(edits), wrong


def says(
    decisions: Sequence[Decision], log: dict[int, Sequence[Decision]], at: int, key: tuple[str, ...], value: str | None
) -> bool:
    """Whether a change says this, or nothing had to be said because it was so already."""
    if any(said.key == key for said in decisions):
        return any(said.key == key and said.value == value for said in decisions)
    values = [said.value for revision in sorted(log) if revision <= at for said in log[revision] if said.key == key]
    return (values[-1] if values else None) == value


def at_any_moment(seed: int, seconds: float) -> Found:
    """Processes killed while they edit; a new library after every fifty."""
    try:
        built()
    except RuntimeError as exc:
        return Found(not_run=str(exc))
    found, n_edits = Found(), 0
    with trials() as made:
        library = made.fresh("rename")
        for i in cases(seconds, 3_000):
            if i % 50 == 49:
                made.let_go(library)
                library = made.fresh("rename")
            n, wrong = killed_while_editing(made, library, seed + i)
            found.n, n_edits = found.n + 1, n_edits + n
            found.failures += wrong
        opened, read = recovery(made.folder / "large")
    found.note = (
        f"{n_edits:,} edits had been acknowledged; after a kill within a publish 100,000 faces open in {opened:.2f} s, "
        f"and the run is read in {read:.2f} s"
    )
    if opened > MAX_RECOVERY_S:
        found.failures.append(f"a library of 100,000 faces took {opened:.1f} s to open after a kill")
    return found


def recovery(folder: Path, n_faces: int = 100_000) -> tuple[float, float]:
    """Seconds until a library of so many faces, killed in the middle of a publish, answers; and tells its run."""
    settings = load_settings(library=folder / "library")
    service = open_service(settings)
    batch = batch_of(n_faces, 0)
    service._faces.add(batch)
    for i in range(2):
        owners = [f"p{(k + i) % 5_000}" if k % 4 else None for k in range(n_faces)]
        publish(service._people, plain_run(f"run-{i}", batch.ids, owners), title=f"Published {i}")
    people = [f"p{(k + 7) % 4_000}" for k in range(n_faces)]
    process = multiprocessing.get_context("fork").Process(target=_publish_and_wait, args=(folder, batch.ids, people))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, process.exitcode
    start = time.monotonic()
    people_store = open_service(settings)._people
    people_store.revision()
    opened = time.monotonic() - start
    snapshot = people_store.read()
    read = time.monotonic() - start
    assert snapshot.run is not None
    assert snapshot.run.id == "run-1"
    assert len(snapshot.run.faces) == n_faces
    return opened, read


def _publish_and_wait(folder: Path, ids: Sequence[FaceId], people: Sequence[str]) -> None:
    """Write a run and be killed as it would be committed: its pages are in the log by then."""
    from facecluster.stores import local

    service = open_service(load_settings(library=folder / "library"))
    local._commit = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    publish(service._people, plain_run("run-2", ids, people))


MAX_RECOVERY_S = 2.0

MEASURES = [
    Measure("R4a", "killed at every change of a file: old or new", "kills", 700, 0, everywhere),
    Measure("R4b", "killed at any moment: every edit that was acknowledged is there", "kills", 3_000, 3, at_any_moment),
]
