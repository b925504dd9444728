"""R7: several curators at one moment: nobody's word is overwritten unseen, and the log tells one order for all."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import small_library
from contracts.builders import clients_closed, rest_server

from facecluster.errors import InputError, StaleWriteError
from facecluster.hierarchies import Params
from facecluster.meanwhile import Facts, standing_on
from facecluster.model import ChangeRecord, Kind, PersonId, UserId
from facecluster.service import Service
from facecluster.stores.local import user_folder
from trust.acts import copied, make_template
from trust.measure import Found, Measure, cases
from trust.states import fast_folder

SETTINGS = (small_library.PARAMS, Params(1, 2, 0.8, "leaf", 50.0), Params(2, 3, 0.5, "cut", 50.0))


@dataclass
class Curator:
    """One of those who work at once: a Service of their own, and what they do next."""

    name: str
    service: Service
    chance: random.Random
    do: Callable[[], object] | None = None
    said: str = ""
    seen: Facts | None = None
    error: Exception | None = None

    def decide(self, people: list[PersonId], faces: list[str]) -> None:
        """Choose an act on what everybody sees now; few people and faces, so that acts meet."""
        service, pick, self.seen, self.error = self.service, self.chance.choice, None, None
        if not people:
            self.said, plan = "publish", service.plan(pick(SETTINGS))
            self.do = lambda: service.publish(plan)
            return
        one, other, some = pick(people), pick(people), self.chance.sample(faces, 2)
        name, view = f"{pick(('Ada', 'Ben', 'Cleo'))} by {self.name}", service.view()
        self.seen = view.snapshot.facts
        acts: dict[str, Callable[[], object]] = {
            "rename": lambda: service.rename(one, name, seen=view.person(one).name),
            "move": lambda: service.move(some, one),
            "new_person": lambda: service.new_person(some, name),
            "reject": lambda: service.reject(some, one),
            "mark": lambda: service.mark(some, "ignored"),
            "hide": lambda: service.hide([one], self.chance.random() < 0.5),
            "merge": lambda: service.merge(one, [other]),
            "confirm": lambda: service.confirm(one, some),
            "undo": lambda: service.undo(view.snapshot.revision),
        }
        kinds = [*acts, *["publish"] * (self.chance.random() < 0.3), *["erase"] * (self.chance.random() < 0.05)]
        self.said = pick(kinds)
        if self.said == "publish":
            plan = service.plan(pick(SETTINGS))
            self.do = lambda: service.publish(plan)
        elif self.said == "erase":
            n_faces = len(view.everything_of(one)[0])
            self.do = lambda: service.erase(one, n_faces)
        elif self.said == "merge" and one == other:
            self.do = lambda: service.confirm(one)
        else:
            self.do = acts[self.said]

    def act(self, together: threading.Barrier) -> None:
        """Do it in the same moment as the others."""
        assert self.do is not None
        together.wait()
        try:
            with standing_on(self.seen):
                self.do()
        except Exception as exc:  # noqa: BLE001  judged afterwards
            self.error = exc


@dataclass
class Round:
    """What everybody saw before, and what was written then."""

    seen: dict[tuple[Kind, str, str], str]
    revision: int
    records: list[ChangeRecord] = field(default_factory=list)


def overwritten(now: Round) -> list[str]:
    """Words of this moment that another word of the same moment replaced: nobody had seen what they replaced.

    An undo is of the change before the moment, so it cannot touch what came within it either.
    """
    return [
        f"revision {record.revision} “{record.title}” by {record.author} replaced {said.before!r}, which "
        f"nobody had seen ({now.seen.get(said.key)!r}), in {said.key}"
        for record in now.records
        for said in record.decisions
        if said.before != now.seen.get(said.key)
    ]


def replayed(
    facts: dict[tuple[Kind, str, str], str], records: list[ChangeRecord]
) -> tuple[dict[tuple[Kind, str, str], str], list[str]]:
    """The facts after one change after the other, and where a change was not made on what was so by then."""
    facts, wrong = dict(facts), []
    for record in records:
        for said in record.decisions:
            if facts.get(said.key) != said.before:
                wrong.append(f"revision {record.revision} stands on {said.before!r} where {facts.get(said.key)!r} was")
            if said.value is None:
                facts.pop(said.key, None)
            else:
                facts[said.key] = said.value
    return facts, wrong


def meeting(curators: list[Curator]) -> list[str]:
    """Everybody acts once, at once: what went wrong."""
    watcher = curators[0].service
    view = watcher.view()
    now = Round(dict(view.snapshot.facts), view.snapshot.revision)
    people, faces = [card.id for card in view.people()[:3]], list(view.faces.ids[:6])
    for curator in curators:
        curator.decide(people, faces)
    together = threading.Barrier(len(curators))
    threads = [threading.Thread(target=curator.act, args=(together,)) for curator in curators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = watcher.view().snapshot
    news = watcher.history(1_000)
    now.records = [record for record in reversed(news) if record.revision > now.revision]
    wrong = []
    if not any(record.n_erased for record in now.records):  # the log forgets with whom it was about
        facts, wrong = replayed(now.seen, now.records)
        wrong += overwritten(now)
        if facts != dict(after.facts):
            wrong.append("the log does not lead to what is there")
    if [record.revision for record in now.records] != list(range(now.revision + 1, after.revision + 1)):
        wrong.append("revisions are missing")
    wrong += [
        f"{c.said} by {c.name} broke: {type(c.error).__name__}: {c.error}"
        for c in curators
        if c.error is not None and not isinstance(c.error, StaleWriteError | InputError)
    ]
    wrong += [f"{c.said}: no word of both: {c.error}" for c in curators if says_too_little(c)]
    return wrong


def says_too_little(curator: Curator) -> bool:
    """A conflict that does not say what is so now."""
    error = curator.error
    return isinstance(error, StaleWriteError) and not any(
        word in str(error)
        for word in ("“", "is no longer", "was said of them since", "by now, and you were asked about")
    )


def meetings(folder: Path, template: Path, seed: int, n: int, open_: Callable[[Path], Service] | None = None) -> Found:
    """So many moments in one library, with two to eight curators."""
    found, chance = Found(), random.Random(seed)
    library = copied(template, folder / f"races-{seed}")
    make = open_ or small_library.open_library
    curators = [Curator(f"c{i}", make(library), random.Random(f"{seed} {i}")) for i in range(chance.randint(2, 8))]
    for i, curator in enumerate(curators):
        curator.service.user = f"c{i}"  # type: ignore[assignment]
    for number in range(n):
        wrong = meeting(curators)
        found.n += 1
        found.failures += [f"seed {seed}, moment {number}: {text}" for text in wrong]
        if wrong:
            break
    shutil.rmtree(library, ignore_errors=True)
    return found


def on_files(seed: int, seconds: float) -> Found:
    """Moments on SQLite, twenty in each library."""
    found, folder = Found(), fast_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        template = make_template(folder / "template")
        for i in cases(seconds, 250):
            one = meetings(folder, template, seed + i, 20)
            found.n += one.n
            found.failures += one.failures
    found.note = "2 to 8 curators on one SQLite file"
    return found


def on_postgres(seed: int, seconds: float) -> Found:
    """Moments in Supabase's functions on a real Postgres, five for each user."""
    try:
        server = rest_server()
    except pytest.skip.Exception as exc:
        return Found(not_run=str(exc.msg))
    found, folder = Found(), fast_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        template = make_template(folder / "template")
        given = {"supabase_url": server.url, "supabase_service_key": server.service_key}
        for i in cases(seconds, 100):
            user = UserId(f"races {seed + i}")

            def opened(library: Path, user: UserId = user) -> Service:
                place = user_folder(library, user)
                if not place.exists():
                    user_folder(library, UserId("local")).rename(place)
                return small_library.open_library(library, user, **given)

            with clients_closed():
                one = meetings(folder, template, seed + i, 5, opened)
            found.n += one.n
            found.failures += one.failures
    found.note = "2 to 8 curators on one Postgres, each by a client of their own"
    return found


MEASURES = [
    Measure("R7a", "curators at one moment on files: no word overwritten unseen", "moments", 5_000, 2, on_files),
    Measure("R7b", "curators at one moment in Supabase: no word overwritten unseen", "moments", 500, 1, on_postgres),
]
