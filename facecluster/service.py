"""The use cases: one method each. What pages, command line and entry points call, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facecluster import comparing, decisions, importing, splitting, visits
from facecluster.answers import NOBODY, Answer, Asked, Likely, answer
from facecluster.clustering import Clustering, epsilon_changes, reference
from facecluster.compute import ComputeCache
from facecluster.config import Settings
from facecluster.contents import Contents, contents
from facecluster.decisions import Draft
from facecluster.demo import demo_faces
from facecluster.erasing import Erasing
from facecluster.errors import InputError, StaleWriteError
from facecluster.hierarchies import Hierarchies, Params
from facecluster.importing import ImportReport
from facecluster.meanwhile import Look
from facecluster.model import ChangeRecord, FaceId, Fetched, Mark, PersonId, Question, RunRecord, UserId
from facecluster.plan import Plan
from facecluster.ports import FaceStore, PeopleStore, Progress, part_of
from facecluster.rights import person_files
from facecluster.stores.local import user_folder
from facecluster.suggest import StabilityMap
from facecluster.view import View, view_of

LIVE_MIN_SAMPLES = (1, 2, 3, 4, 5)  # the worker prepares these, so that the slider is live on all of them
_RETRIES = 5


class Service:
    """One user's library.

    `last` is the view at the last look, None before the first.
    """

    def __init__(
        self, user: UserId, settings: Settings, faces: FaceStore, people: PeopleStore, cache: ComputeCache
    ) -> None:
        self.user = user
        self.settings = settings
        self._faces = faces
        self._people = people
        self._cache = cache
        self._lock = threading.RLock()
        self.last: View | None = None
        self._held = threading.local()
        self._hierarchies = Hierarchies(cache)
        home = user_folder(settings.library, user)
        self.erasing = Erasing(home, user, faces, people, cache, self.view, self._forget)

    # --- reading -----------------------------------------------------------------------------------------------

    @property
    def defaults(self) -> Params:
        """Parameters as the settings have them."""
        s = self.settings
        return Params(s.min_samples, s.min_cluster_size, s.epsilon, s.method, s.blur_threshold)

    def view(self) -> View:
        """Everything as it is now; the same object until something changes."""
        held: View | None = getattr(self._held, "view", None)
        if held is not None:
            return held
        known = self.last
        # Not under the lock: to ask takes several turns of the interpreter, and fifty pages waited for each other's.
        if known is not None and known.version == self._version():
            return known
        with self._lock:
            version = self._version()
            if self.last is None or self.last.version != version:
                generation = version.split("/")[0]
                old = self.last if self.last and self.last.version.split("/")[0] == generation else None
                faces, snapshot = old.faces if old else self._faces.read(), self._people.read()
                version, blur = f"{generation}/{snapshot.revision}", self.settings.blur_threshold
                lists = self._hierarchies.lists
                self.last = old.later(version, snapshot) if old else view_of(version, faces, snapshot, blur, lists)
            return self.last

    def _version(self) -> str:
        return f"{self._faces.version()}/{self._people.revision()}"

    @contextmanager
    def held(self) -> Iterator[View]:
        """Within, in this thread, `view` stays what it is now: a page shows one moment, and asks a hosted store once.

        Nothing is written within: a change is made on the newest view.
        """
        before = getattr(self._held, "view", None)
        self._held.view = view = self.view()
        try:
            yield view
        finally:
            self._held.view = before

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture of a face, b"" where there is none."""
        return self._faces.crop(face)

    def history(self, limit: int = 50, before: int | None = None) -> Sequence[ChangeRecord]:
        """What was changed, newest first."""
        return self._people.history(limit, before)

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""
        return self._people.runs()

    def came_since(self, person: PersonId, revision: int) -> list[FaceId]:
        """Faces that were not a person's at a revision and that nobody confirmed; none where that is not known."""
        return visits.came_since(self.view(), person, revision, self._people)

    def contents(self) -> Contents:
        """All that the library holds, at one moment: for exports, and for its hash."""
        return contents(self.view().faces, self._people)

    def everything_about(self, person: PersonId) -> dict[str, bytes]:
        """All that is kept of a person as open files: contents by name."""
        return person_files(self.view(), person, self._faces.crop, self._people)

    def find(self, asked: Asked, likely: Likely = NOBODY) -> Answer:
        """Faces like a face, a person or a vector, or photos by who is in them; with whoever is `likely` the same."""
        return answer(self.view(), asked, likely)

    def compared(self, a: str, b: str) -> Plan:
        """What going from one published run to another does to each person."""
        return comparing.compared(self.view(), self._people.run(a), self._people.run(b))

    # --- faces -------------------------------------------------------------------------------------------------

    def import_files(self, paths: Sequence[Path], progress: Progress | None = None) -> ImportReport:
        """Add the faces of some files; the same file twice changes nothing.

        Raises
        ------
        InputError
            If a file cannot be read. Files before it are imported by then.
        """
        blocked = self.erasing.blocked.among
        return importing.import_files(paths, lambda: self.view().faces, self._faces.add, progress, blocked)

    def must_fetch(self) -> bool:
        """Whether the faces lie in a hosted index and were never read: `view` would have to, and take its time."""
        return self._faces.must_fetch()

    def fetch(self, everything: bool = False, progress: Progress | None = None) -> Fetched:
        """Bring what is new in the hosted index, or `everything` again; nothing to do for an embedded library."""
        return self._faces.fetch(everything, progress)

    def erase(self, person: PersonId, n_faces: int) -> int:
        """Erase a person of whom the curator was told so many faces, for good; see `Erasing.erase`."""
        return self.erasing.erase([person], n_faces)

    def _forget(self) -> None:
        """Let go of what is kept in memory of the faces as they were."""
        with self._lock:
            self.last, self._hierarchies = None, Hierarchies(self._cache)

    def open_demo(self, progress: Progress | None = None) -> None:
        """Fill an empty library with the drawn faces, cluster them and publish; a filled one is left alone."""
        if len(self.view().faces) == 0:
            self._faces.add(demo_faces(part_of(progress, 0.0, 0.3)))
        if self.view().snapshot.run is None:
            self.prepare(self.defaults.blur_threshold, (self.defaults.min_samples,), part_of(progress, 0.3, 0.95))
            self.publish(self.plan(self.defaults), author="demo")
        if progress:
            progress(1.0, "The demo library is ready")

    # --- clustering --------------------------------------------------------------------------------------------

    def is_ready(self, params: Params) -> bool:
        """Whether `plan` answers at once."""
        base = self._hierarchies.base(self.view(), params.blur_threshold)
        return base is not None and self._cache.has_hierarchy(base[1], params.min_samples)

    def prepare(
        self,
        blur_threshold: float,
        min_samples: Sequence[int] = LIVE_MIN_SAMPLES,
        progress: Progress | None = None,
        rebuild: bool = False,
    ) -> None:
        """Build the hierarchies that are not there yet: the slow part.

        `rebuild` leaves faces out for good that were set aside since the last build.
        """
        view = self.view()
        if rebuild or self._hierarchies.base(view, blur_threshold) is None:
            self._hierarchies.set_base(view, blur_threshold)
        for i, wanted in enumerate(min_samples):
            # The first one searches the neighbours, which is nearly all of the work.
            start = 0.9 + 0.1 * (i - 1) / len(min_samples) if i else 0.0
            part = part_of(progress, start, 1.0 if i else 0.9)
            self._hierarchies.get(view, blur_threshold, wanted, part)
        if len(min_samples) > 1:  # whoever wants several of them looks at Tune next
            self.stability(replace(self.defaults, blur_threshold=blur_threshold))
        if progress:
            progress(1.0, "Ready")

    def extracted(self, params: Params, progress: Progress | None = None) -> tuple[NDArray[np.int64], Clustering]:
        """Clustered rows, and their clusters as HDBSCAN alone has them."""
        return self._hierarchies.clusters(self.view(), params, progress)

    def plan(self, params: Params, progress: Progress | None = None, author: str = "") -> Plan:
        """What publishing these parameters would change. Writes nothing but saved computations."""
        return self._hierarchies.plan(self.view(), params, author or self.user, progress)

    def epsilon_changes(self, params: Params) -> NDArray[np.float64]:
        """Values of epsilon at which the partition changes, ascending."""
        _, hierarchy = self._hierarchies.get(self.view(), params.blur_threshold, params.min_samples)
        return epsilon_changes(hierarchy, params.extraction)

    def stability(self, params: Params, progress: Progress | None = None) -> StabilityMap:
        """How little the people change around each setting of the sliders, read or made from what is prepared."""
        return self._hierarchies.stability(self.view(), params, self.defaults, LIVE_MIN_SAMPLES, progress)

    def has_stability(self, params: Params) -> bool:
        """Whether `stability` answers at once."""
        return self._hierarchies.has_stability(self.view(), params, self.defaults, LIVE_MIN_SAMPLES)

    def stability_address(self, params: Params) -> str:
        """The same for as long as `stability` is."""
        return self._hierarchies.stability_address(self.view(), params, self.defaults, LIVE_MIN_SAMPLES)

    def publish(self, plan: Plan, author: str = "") -> int:
        """Write exactly this plan, all or nothing; returns the new revision.

        Raises
        ------
        StaleWriteError
            If anything was changed since the plan was made.
        """
        return self._people.apply(replace(plan.change, author=author or plan.change.author))

    def map(self, progress: Progress | None = None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and places, shape (n, 2), of the faces on the map."""
        return self._hierarchies.map(self.view(), progress)

    def has_map(self) -> bool:
        """Whether `map` answers at once."""
        return self._hierarchies.has_map(self.view())

    def verify(self, params: Params, progress: Progress | None = None) -> reference.Verification:
        """Check tree and labels against the hdbscan package on this library's own faces."""
        return self._hierarchies.verify(self.view(), params, progress)

    @property
    def waiting_for_rebuild(self) -> int:
        """Faces set aside since the hierarchy was built; they leave it at the next one."""
        return self._hierarchies.n_masked(self.view())

    # --- what the curator says ---------------------------------------------------------------------------------

    def rename(self, person: PersonId, name: str, seen: str | None = None, confirm: bool = False) -> int:
        """Name a person; `confirm` pins all their faces as well, `seen` is the name that was on the screen.

        Raises
        ------
        StaleWriteError
            If the person has another name by now than the one seen.
        """
        text = decisions.clean_name(name)

        def say(draft: Draft) -> str:
            known = self.view().person(person)
            if seen is not None and known.name != seen and known.name != text:
                raise StaleWriteError(
                    f"Meanwhile this person was named “{known.name}” (it was “{seen}”, and you typed “{text}”). "
                    "Nothing was changed. Type it again if yours is right."
                )
            decisions.rename(draft, person, text)
            if confirm:
                decisions.confirm(draft, person, self.view().ids_of(person))
            what = f"Named {known.name or 'somebody'} “{text}”" if text else f"Took the name “{known.name}” away"
            return what + (f" and confirmed {_faces(self.view().ids_of(person))}" if confirm else "")

        return self._say(say)

    def confirm(self, person: PersonId, faces: Sequence[FaceId] | None = None) -> int:
        """Pin faces to a person: all that the person has, or these."""

        def say(draft: Draft) -> str:
            chosen = list(faces) if faces is not None else self.view().ids_of(person)
            self.view().check(chosen)
            decisions.confirm(draft, person, chosen)
            return f"Confirmed {_faces(chosen)} of {self.view().called(person)}"

        return self._say(say)

    def merge(self, into: PersonId, others: Sequence[PersonId]) -> int:
        """Make several people one."""

        def say(draft: Draft) -> str:
            titles = []
            for other in others:
                anchors = [*self.view().anchors(into), *self.view().anchors(other)]
                titles.append(self.view().called(other))
                self.view().called(into)
                decisions.merge(draft, into, other, anchors)
            return f"Merged {', '.join(titles)} into {self.view().called(into)}"

        return self._say(say)

    def move(self, faces: Sequence[FaceId], to: PersonId) -> int:
        """Give faces to a person; whoever had them is told that they are not theirs."""

        def say(draft: Draft) -> str:
            self.view().check(faces)
            decisions.move(draft, {face: self.view().owner(face) for face in faces}, to)
            return f"Gave {_faces(faces)} to {self.view().called(to)}"

        return self._say(say)

    def new_person(self, faces: Sequence[FaceId], name: str = "") -> PersonId:
        """Make a person of faces."""
        made: list[PersonId] = []
        text = decisions.clean_name(name)

        def say(draft: Draft) -> str:
            self.view().check(faces)
            person = decisions.new_person(draft, min(faces))
            made[:] = [person]
            decisions.rename(draft, person, text)
            decisions.move(draft, {face: self.view().owner(face) for face in faces}, person)
            return f"Made {f'“{text}”' if text else 'a new person'} of {_faces(faces)}"

        self._say(say)
        return made[0]

    def split(self, person: PersonId, parts: Sequence[Sequence[FaceId]], stay: Sequence[FaceId] = ()) -> int:
        """Make new people of parts of one, in one change; the faces in `stay` do not leave."""
        return self._say(lambda draft: splitting.split(draft, self.view(), person, parts, stay))

    def reject(self, faces: Sequence[FaceId], person: PersonId) -> int:
        """Say that faces are not this person."""

        def say(draft: Draft) -> str:
            self.view().check(faces)
            decisions.reject(draft, faces, person)
            return f"{_faces(faces)} {'is' if len(faces) == 1 else 'are'} not {self.view().called(person)}"

        return self._say(say)

    def mark(self, faces: Sequence[FaceId], value: Mark | None) -> int:
        """Set faces aside, or take them back with None."""
        words = {"ignored": "Ignored", "not_a_face": "Not a face:", None: "Took back"}

        def say(draft: Draft) -> str:
            self.view().check(faces)
            decisions.mark(draft, faces, value)
            return f"{words[value]} {_faces(faces)}"

        return self._say(say)

    def hide(self, people: Sequence[PersonId], is_hidden: bool = True) -> int:
        """Hide people from the grid, or show them again."""

        def say(draft: Draft) -> str:
            names = [self.view().called(person) for person in people]
            for person in people:
                draft.set("hidden", person, "1" if is_hidden else None)
            return f"{'Hid' if is_hidden else 'Showed'} {', '.join(names)}"

        return self._say(say)

    def set_cover(self, person: PersonId, face: FaceId | None) -> int:
        """Choose the face shown for a person; None leaves it to the rule."""

        def say(draft: Draft) -> str:
            if face is not None and self.view().owner(face) != person:
                raise InputError(
                    f"The face {face!r} is not that of {self.view().called(person)}. Nothing was changed. "
                    "Choose one of theirs."
                )
            draft.set("cover", person, face)
            return f"Chose the cover of {self.view().called(person)}"

        return self._say(say)

    def answer(self, question: Question, is_yes: bool) -> int:
        """Answer what reconcile could not settle; the same question does not come back.

        Raises
        ------
        InputError
            If it is not open in the live run: answered meanwhile, or of a plan that was not published.
        """
        if question.kind == "keep":
            return self._answer_keep(question.person, is_yes)
        if question.other is None:
            raise InputError("This question names one person only. Nothing was changed. Reload the page.")
        a, b = question.person, question.other
        if not {a, b} <= self.view().number.keys():
            raise InputError(
                "One of the two is no longer there, or new in a plan that is not published. Nothing was changed. "
                "Publish the plan first, or reload the page."
            )
        if is_yes:
            into, other = self.view().larger_first(a, b)
            return self.merge(into, [other])
        return self.tell_apart([a, b])

    def tell_apart(self, people: Sequence[PersonId]) -> int:
        """Say that no two of these people are one: they are neither asked about nor joined any more."""

        def say(draft: Draft) -> str:
            anchors = {person: self.view().anchors(person) for person in people}
            if not all(anchors.values()):
                raise InputError("One of them has no faces any more. Nothing was changed. Reload the page.")
            for a, b in combinations(people, 2):
                decisions.tell_apart(draft, a, anchors[a][0], b, anchors[b][0])
            *some, last = map(self.view().called, people)
            return f"{', '.join(some)} and {last} are different people"

        return self._say(say)

    def _answer_keep(self, person: PersonId, is_yes: bool) -> int:
        loose = self.view().fallen_out(person)
        if not loose:
            raise InputError(
                "No face of this person waits for an answer: it was given, or the plan that asks is not published. "
                "Nothing was changed. Reload the page."
            )
        return self.confirm(person, loose) if is_yes else self.reject(loose, person)

    def undo(self, revision: int) -> int:
        """Take one change set back, also when it is not the last."""
        record = next(iter(self._people.history(1, revision + 1)), None)
        if record is None or record.revision != revision:
            raise InputError(f"There is no change {revision} in the history. Nothing was changed.")
        if record.n_erased:
            raise InputError("What was erased cannot be brought back. Nothing was changed.")

        def build() -> int:
            draft = decisions.undo(self._people.read(), record)
            return self._people.apply(draft.change(self.user, f"Undid “{record.title}”", undoes=revision))

        return self._retried(build)

    def name_run(self, run_id: str, name: str) -> int:
        """Name a run, so that it is kept; "" takes the name away."""
        text = decisions.clean_name(name)
        self._people.run(run_id)

        def say(draft: Draft) -> str:
            draft.set("run_name", run_id, text or None)
            return f"Named the run {run_id} “{text}”" if text else f"Took the name of the run {run_id} away"

        return self._say(say)

    def restore(self, run_id: str) -> int:
        """Show an earlier run again; names and facts stay as they are."""
        run = self._people.run(run_id)

        def say(draft: Draft) -> str:
            for owner in sorted({owner for owner in run.owner if owner is not None}):
                draft.set("person", owner, "1")
            draft.set("live_run", "", run_id)
            return f"Went back to {run_id}"

        return self._say(say)

    # --- inside ------------------------------------------------------------------------------------------------

    def _say(self, say: Callable[[Draft], str]) -> int:
        """Apply what `say` drafts on the newest snapshot; built anew where others wrote of other things meanwhile.

        Returns the revision that this made, others may have followed; where there was nothing to say, the one in force.
        """
        look = Look()

        def build() -> int:
            draft = Draft(self.view().snapshot)
            title = say(draft)
            look.must_allow(draft)
            return self._people.apply(draft.change(self.user, title)) if draft.decisions else draft.snapshot.revision

        return self._retried(build)

    def _retried(self, build: Callable[[], int], tries: int = _RETRIES) -> int:
        revision = self._people.revision()
        try:
            return build()
        except StaleWriteError:
            # Only a race is worth another try: with nothing new written, the answer would be the same.
            if self._people.revision() == revision or tries == 1:
                raise
        return self._retried(build, tries - 1)


def _faces(some: Sized) -> str:
    return "1 face" if len(some) == 1 else f"{len(some):,} faces"
