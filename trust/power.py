"""R5: the power goes, and what was not synced is lost, torn or there in any order: a library opens all the same.

Every write of an act is recorded as it is made. From the record, states are rebuilt that a disk may have after the
power went at any moment: of each file what was synced, and of the rest some writes and not others, some in part.
Names of files are as the folder was last synced, and some later changes of names, in their order.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trust.acts import copied
from trust.disk import CHANGES, built
from trust.measure import Found, Measure, cases
from trust.states import ACTS, Trials, performed, trials

_SECTOR = 512


@dataclass(frozen=True)
class Call:
    """One recorded call: "create", "write", "truncate", "sync", "rename" (to `more`), "unlink" or "mkdir"."""

    what: str
    path: str
    more: str
    at: int
    data: bytes


@dataclass
class Content:
    """One file: what is on the disk for sure, and what was written since."""

    synced: bytearray
    pending: list[Call] = field(default_factory=list)

    def after(self, chance: random.Random | None) -> bytes:
        """What the disk may have; None for all that was written."""
        data = bytearray(self.synced)
        kept = [call for call in self.pending if chance is None or chance.random() < 0.5]
        if chance is not None:
            chance.shuffle(kept)
        for call in kept:
            torn = chance is not None and chance.random() < 0.2
            put(data, call, call.data[: chance.randrange(0, len(call.data), _SECTOR)] if torn and call.data else None)
        return bytes(data)


def put(data: bytearray, call: Call, part: bytes | None = None) -> None:
    """One write or truncation, or a part of it."""
    if call.what == "truncate":
        del data[call.at :]
        data.extend(bytes(call.at - len(data)))
        return
    piece = call.data if part is None else part
    data.extend(bytes(max(0, call.at - len(data))))
    data[call.at : call.at + len(piece)] = piece


def recorded(path: Path) -> list[Call]:
    """What `disk.c` wrote down."""
    calls = []
    with path.open("rb") as file:
        while line := file.readline():
            what, where, more, at, n = line.decode().rstrip("\n").split("\t")
            calls.append(Call(what, where, more, int(at), file.read(int(n))))
    return calls


class Disk:
    """Files by number, names by path, as a file system has them."""

    def __init__(self, folder: Path) -> None:
        self.contents = [Content(bytearray(path.read_bytes())) for path in files(folder)]
        self.names = {str(path): i for i, path in enumerate(files(folder))}
        self.sure = dict(self.names)
        self.pending: list[Call | tuple[str, int]] = []

    def happen(self, call: Call) -> None:
        """One call more before the power goes."""
        if call.what == "sync" and call.path in self.names:
            content = self.contents[self.names[call.path]]
            content.synced, content.pending = bytearray(content.after(None)), []
        elif call.what == "sync":
            rename(self.sure, self.pending)
            self.pending = []
        elif call.what in ("write", "truncate") and call.path in self.names:
            self.contents[self.names[call.path]].pending.append(call)
        elif call.what == "create":
            self.contents.append(Content(bytearray()))
            self.pending.append((call.path, len(self.contents) - 1))
            self.names[call.path] = len(self.contents) - 1
        elif call.what in ("rename", "unlink"):
            self.pending.append(call)
            rename(self.names, [call])

    def left(self, chance: random.Random) -> dict[str, bytes]:
        """Files after the power is back."""
        names = dict(self.sure)
        rename(names, self.pending[: chance.randint(0, len(self.pending))])
        return {path: self.contents[i].after(chance) for path, i in names.items()}


def rename(names: dict[str, int], changes: list[Call | tuple[str, int]]) -> None:
    """Follow changes of names."""
    for change in changes:
        if isinstance(change, tuple):
            names[change[0]] = change[1]
        elif change.what == "rename" and change.path in names:
            names[change.more] = names.pop(change.path)
        elif change.what == "unlink":
            names.pop(change.path, None)


def files(folder: Path) -> Iterator[Path]:
    """All files, but the index of the log, which SQLite makes anew."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("-shm"))


@dataclass
class Recording:
    """An act as it was written, and the library it began with."""

    act: str
    library: Path
    before: Path
    calls: list[Call]


def record(made: Trials, act: str) -> Recording:
    """Do an act and write down every change of a file."""
    library = made.fresh(act)
    before = copied(library, library.with_name(f"{library.name}-before"))
    log = library.with_name(f"{library.name}-record")
    end = made.nursery.do(performed(act), library, kinds=CHANGES, record=log)
    assert not end.error, end
    calls = [call for call in recorded(log) if not call.path.endswith("-shm")]
    return Recording(act, library, before, calls)


def state(made: Trials, one: Recording, at: int, chance: random.Random) -> str:
    """Let the power go after so many calls: what is wrong with what is left."""
    made.n += 1
    place = made.folder / f"{made.n:06d}"
    shutil.copytree(one.before, place)
    disk = Disk(place)
    for call in one.calls[:at]:
        moved = [path.replace(str(one.library), str(place), 1) for path in (call.path, call.more)]
        disk.happen(Call(call.what, *moved, call.at, call.data))
    left = disk.left(chance)
    for path in [*files(place)]:
        if str(path) not in left:
            path.unlink()
    for name, data in left.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)
    wrong = made.broken(one.act, place, must_be_new=at == len(one.calls))
    made.let_go(place)
    return wrong


def power_cuts(seed: int, seconds: float, most: int = 5_000, acts: tuple[str, ...] = ACTS) -> Found:
    """Cuts at moments by chance, each third of them right after the act was acknowledged."""
    try:
        built()
    except RuntimeError as exc:
        return Found(not_run=str(exc))
    found, chance = Found(), random.Random(seed)
    with trials() as made:
        recordings = [record(made, act) for act in acts]
        for i in cases(seconds, most):
            one = recordings[i % len(recordings)]
            at = len(one.calls) if i % 3 == 0 else chance.randint(0, len(one.calls))
            found.n += 1
            if wrong := state(made, one, at, chance):
                found.failures.append(f"seed {seed}: {one.act}, cut after call {at} of {len(one.calls)}: {wrong}")
    found.note = ", ".join(f"{one.act} {len(one.calls)} calls" for one in recordings)
    return found


MEASURES = [Measure("R5", "the power goes: old or new, and what was acknowledged", "states", 5_000, 2, power_cuts)]
