"""Erasing people for good: a note of what is to go, every place it goes from, and no trace when it is done.

The note (`erasing.json` in the user's folder) is written before anything is erased and deleted after everything is, so
a process killed at any point leaves either nothing begun or a note; whoever opens the library next finishes it. Each
step is safe to repeat.

| step | what goes |
|---|---|
| 1 | running work is stopped: it holds these faces |
| 2 | faces at the source (Pinecone) and in the copy of it, or in the embedded library |
| 3 | facts, names, rows of runs and decisions of the log, where people are kept |
| 4 | saved neighbour lists, hierarchies, maps |
| 5 | the same faces and people in libraries of earlier settings, files waiting to be imported, outcomes of jobs |
| 6 | free pages and write-ahead logs of SQLite |
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from facecluster import decisions, uploads
from facecluster.compute import ComputeCache
from facecluster.errors import StaleWriteError, StoreDataError, StoreError, StoreUnavailableError
from facecluster.jobs import Jobs
from facecluster.model import FaceId, PersonId, UserId
from facecluster.ports import FaceStore, PeopleStore
from facecluster.stores.blocked import Blocked
from facecluster.stores.local import Database, sync, translated
from facecluster.stores.local_traces import compact, erase_here
from facecluster.view import View

_NOTE = "erasing.json"
# A worker stops at its next word, a few times a second.
_STOPPING_S = 5.0
# An erasing takes seconds; whoever begins one while another runs waits so long.
_PATIENCE_S = 60.0
_LOOK_S = 0.05
_TRIES = 5


@dataclass(frozen=True)
class Erasure:
    """What is to go.

    Attributes
    ----------
    author : str
        Who asked for it.
    n_people : int
        People as a curator counts them: who was merged into somebody is not counted.
    faces, people : tuple of str
        Ids.
    marks : tuple of str
        What the list of faces that may not come back gets; empty where that was not asked for.
    is_told : bool
        Where people are kept it is done and in the log.
    """

    author: str
    n_people: int
    faces: tuple[str, ...]
    people: tuple[str, ...]
    marks: tuple[str, ...] = ()
    is_told: bool = False

    def covers(self, other: Erasure) -> bool:
        """Whether everything that goes with `other` goes with this."""
        return {*self.faces, *self.people, *self.marks} >= {*other.faces, *other.people, *other.marks}


class Erasing:
    """Erasing from one user's library, one at a time.

    Parameters
    ----------
    folder : Path
        The user's.
    user : UserId
        Whose library it is.
    faces, people : FaceStore, PeopleStore
        The stores in use.
    cache : ComputeCache
        Results computed of the faces.
    view : callable
        The library as it is now.
    forget : callable
        Called once something may be gone: lets go of what is kept in memory.
    """

    def __init__(
        self,
        folder: Path,
        user: UserId,
        faces: FaceStore,
        people: PeopleStore,
        cache: ComputeCache,
        view: Callable[[], View],
        forget: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._user = user
        self._faces = faces
        self._people = people
        self._cache = cache
        self._view = view
        self._forget = forget
        self._note = folder / _NOTE

    @cached_property
    def blocked(self) -> Blocked:
        """Faces that may not come back."""
        return Blocked(Database(self._folder, self._user))

    @property
    def is_begun(self) -> bool:
        """Whether there is an erasing that is not finished."""
        return self._note.is_file()

    def erase(self, people: Sequence[PersonId], n_faces: int, *, block: bool = False) -> int:
        """Erase people: vectors and pictures, here and at the source, all that was said and computed of them. For good.

        Cut short at any point, it is finished when the library is opened next, or by the same call. Returns the
        revision after it.

        Parameters
        ----------
        n_faces : int
            Faces that the confirmation named, of all of them together.
        block : bool
            The same faces are left out of what is imported or fetched later.

        Raises
        ------
        StaleWriteError
            If they have another number of faces by now.
        StoreError
            If a store fails, or a reader stands in the way.
        """
        view = self._view()
        faces, gone = _what_goes(view, people, n_faces)
        marks = self.blocked.marks(view.faces, faces) if block else ()
        wanted = Erasure(str(self._user), len(people), tuple(faces), tuple(gone), marks)
        with self._alone(_PATIENCE_S) as is_alone:
            if not is_alone:
                raise StoreUnavailableError(
                    "Somebody else is erasing from this library right now. Nothing was erased. Try again in a minute."
                )
            begun = self._read()
            if begun is not None and begun.covers(wanted):
                return self._carry_out(begun, "Erased")
            if begun is not None:
                self._carry_out(begun, "Finished erasing")
            with self._as_begun():
                self._write(wanted)
            return self._carry_out(wanted, "Erased")

    def finish(self) -> bool:
        """Go on with what was cut short, if nobody is at it: whether nothing is left to do.

        A store that fails is left for the next time: whoever only opens the library is not kept from it.
        """
        if not self.is_begun:
            return True
        with self._alone(0.0) as is_alone:
            try:
                begun = self._read() if is_alone else None
                if begun is not None:
                    self._carry_out(begun, "Finished erasing")
            except StoreError:
                return False
        return not self.is_begun

    def _carry_out(self, task: Erasure, verb: str) -> int:
        with self._as_begun():
            return self._step_by_step(task, verb)

    @contextmanager
    def _as_begun(self) -> Iterator[None]:
        """Whoever fails within speaks of its own step; where the note stands, the erasing as a whole has begun."""
        try:
            yield
        except StoreError as exc:
            if not self.is_begun:
                raise
            why = " ".join(one for one in re.split(r"(?<=\.) ", str(exc)) if not one.startswith("Nothing was"))
            raise type(exc)(
                f"{why} The erasing was begun and is not finished: opening the library again finishes it."
            ) from exc
        finally:
            self._forget()

    def _step_by_step(self, task: Erasure, verb: str) -> int:
        Jobs(self._folder / "jobs", self._folder, self._user).clear(_STOPPING_S)
        self.blocked.add(task.marks)
        self._faces.remove([FaceId(face) for face in task.faces])
        if not task.is_told:
            self._tell(task, verb)
            self._write(replace(task, is_told=True))
        revision = self._people.revision()
        with translated(self._folder):
            self._cache.clear(revision)
            uploads.drop_all(self._folder / "uploads")
        erase_here(self._folder, self._user, [FaceId(face) for face in task.faces], task.people)
        compact(self._folder, self._user)
        self._drop_note()
        return revision

    def _tell(self, task: Erasure, verb: str, tries: int = _TRIES) -> None:
        revision = self._people.revision()
        try:
            self._people.apply(decisions.erasure(revision, task.author, task.faces, task.people, task.n_people, verb))
        except StaleWriteError:
            if tries == 1:
                raise
            self._tell(task, verb, tries - 1)

    # --- the note ------------------------------------------------------------------------------------------------

    def _read(self) -> Erasure | None:
        try:
            if not self.is_begun:
                return None
            with translated(self._note):
                found = json.loads(self._note.read_text("utf-8"))
            ids = {key: tuple(map(str, found[key])) for key in ("faces", "people", "marks")}
            return Erasure(found["author"], found["n_people"], is_told=found["is_told"], **ids)
        except (ValueError, TypeError, KeyError) as exc:
            raise StoreDataError(
                f"{self._note} is damaged, so an erasing that was cut short cannot be finished. Nothing was changed. "
                "Erase the person again, then delete that file."
            ) from exc

    def _write(self, task: Erasure) -> None:
        aside = self._note.with_suffix(".json.tmp")
        with translated(self._note):
            with aside.open("w", encoding="utf-8") as file:
                json.dump(asdict(task), file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._note)
            sync(self._folder)

    def _drop_note(self) -> None:
        with translated(self._note):
            self._note.with_suffix(".json.tmp").unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
        with suppress(OSError):  # it is done; a note that a power cut brings back is carried out once more
            sync(self._folder)

    @contextmanager
    def _alone(self, patience_s: float) -> Iterator[bool]:
        """Whether nobody else, in this process or another, erases meanwhile."""
        end = time.monotonic() + patience_s
        with translated(self._note):
            lock = (self._folder / "erasing.lock").open("ab")
        with lock:
            is_alone = False
            while not is_alone:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    is_alone = True
                except BlockingIOError:
                    if time.monotonic() > end:
                        break
                    time.sleep(_LOOK_S)
            yield is_alone


def _what_goes(view: View, people: Sequence[PersonId], n_faces: int) -> tuple[list[FaceId], list[PersonId]]:
    """All faces and merged people of people of whom the curator was told that together they have so many faces."""
    each = [view.everything_of(person) for person in people]
    faces, gone = [face for some, _ in each for face in some], [one for _, some in each for one in some]
    if len(faces) != n_faces:
        whom = view.called(people[0]) if len(people) == 1 else f"These {len(people):,} people"
        raise StaleWriteError(
            f"{whom} {'has' if len(people) == 1 else 'have'} {len(faces):,} faces by now, and you were asked about "
            f"{n_faces:,}. Nothing was erased. Look again, then repeat it."
        )
    return faces, gone
