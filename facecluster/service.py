"""The use cases: one method each. What pages, command line and entry points call, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facecluster import decisions, search
from facecluster.clustering import NOISE, Clustering, epsilon_changes, reference
from facecluster.compute import ComputeCache
from facecluster.config import Settings
from facecluster.decisions import Draft
from facecluster.demo import demo_faces
from facecluster.errors import InputError, StaleWriteError
from facecluster.hierarchies import Hierarchies, Params
from facecluster.importing import ImportReport, read_faces
from facecluster.model import BLURRED, ChangeRecord, FaceId, Mark, PersonId, Question, RunRecord, UserId
from facecluster.plan import Plan, measured
from facecluster.ports import FaceStore, PeopleStore, Progress, part_of
from facecluster.reconcile import reconcile
from facecluster.row_state import UNSEEN, row_state
from facecluster.search import Hit
from facecluster.suggest import StabilityMap
from facecluster.view import View

# The worker prepares these, so that the slider is live on all of them.
LIVE_MIN_SAMPLES = (1, 2, 3, 4, 5)
_RETRIES = 5


class Service:
    """One user's library."""

    def __init__(
        self, user: UserId, settings: Settings, faces: FaceStore, people: PeopleStore, cache: ComputeCache
    ) -> None:
        self.user = user
        self.settings = settings
        self._faces = faces
        self._people = people
        self._cache = cache
        self._lock = threading.RLock()
        self._view: View | None = None
        self._hierarchies = Hierarchies(cache)

    # --- reading -----------------------------------------------------------------------------------------------

    @property
    def defaults(self) -> Params:
        """Parameters as the settings have them."""
        s = self.settings
        return Params(s.min_samples, s.min_cluster_size, s.epsilon, s.method, s.blur_threshold)

    def view(self) -> View:
        """Everything as it is now; the same object until something changes."""
        with self._lock:
            version = f"{self._faces.version()}/{self._people.revision()}"
            if self._view is None or self._view.version != version:
                old = self._view
                same_faces = old is not None and old.version.split("/")[0] == version.split("/")[0]
                faces = old.faces if old is not None and same_faces else self._faces.read()
                snapshot = self._people.read()
                state = row_state(snapshot, faces)
                version = f"{version.split('/')[0]}/{snapshot.revision}"
                self._view = View(version, faces, snapshot, state, self.settings.blur_threshold)
            return self._view

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture of a face, b"" where there is none."""
        return self._faces.crop(face)

    def history(self, limit: int = 50, before: int | None = None) -> Sequence[ChangeRecord]:
        """What was changed, newest first."""
        return self._people.history(limit, before)

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""
        return self._people.runs()

    def find(self, face: FaceId | None = None, person: PersonId | None = None, k: int | None = None) -> list[Hit]:
        """Nearest faces to a face or a person, widened to whole people.

        A person's own faces are left out; those of the owner of a face come on top of the `k`.
        """
        view = self.view()
        wanted = k or self.settings.search_top_k
        if face is not None:
            row, owner = view.row(face), view.owner(face)
            wanted += len(view.rows(owner)) if owner is not None else 0
            return search.widened(
                view.faces.vectors, view.state.owner, view.faces.vectors[row], wanted, np.array([row])
            )
        if person is None:
            raise InputError("Nothing to search by. Choose a face or a person.")
        centre = view.centre(person)
        return search.widened(view.faces.vectors, view.state.owner, centre, wanted, view.rows(person))

    # --- faces -------------------------------------------------------------------------------------------------

    def import_files(self, paths: Sequence[Path], progress: Progress | None = None) -> ImportReport:
        """Add the faces of some files; the same file twice changes nothing.

        Raises
        ------
        InputError
            If a file cannot be read. Files before it are imported by then.
        """
        totals = ImportReport()
        for i, path in enumerate(paths):
            if progress:
                progress(i / len(paths), f"Reading {path.name}")
            known = self.view().faces
            checked = read_faces(path, known.vectors.shape[1] if len(known) else None)
            if progress:
                progress((i + 0.5) / len(paths), f"Writing {len(checked.batch.ids):,} faces")
            totals = totals.plus(self._faces.add(checked.batch), checked)
        if progress:
            progress(1.0, "Imported")
        return totals

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
        view = self.view()
        rows, clusters = self._hierarchies.clusters(view, params, progress)
        facts = view.state.row_facts(view.faces.photo_number, rows)
        refined = self._hierarchies.refined(view, params, clusters, facts)
        label = np.where(view.faces.sharp(params.blur_threshold), NOISE, BLURRED).astype(np.int32)
        strength = np.zeros(len(view.faces), np.float32)
        label[rows], strength[rows] = (clusters if refined is None else refined).labels, clusters.strength
        label[view.state.is_masked] = NOISE
        found = reconcile(view.faces, label, strength, view.snapshot, view.state, asdict(params), author or self.user)
        return measured(found, view.faces, view.state, rows, clusters.labels, refined)

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
        view = self.view()
        rows, fingerprint = self._hierarchies.require_base(view, self._live_threshold(view))
        return rows, self._cache.map(view.faces.vectors[rows], fingerprint, progress)

    def has_map(self) -> bool:
        """Whether `map` answers at once."""
        view = self.view()
        base = self._hierarchies.base(view, self._live_threshold(view))
        return base is not None and self._cache.has_map(base[1])

    def verify(self, params: Params, progress: Progress | None = None) -> reference.Verification:
        """Check tree and labels against the hdbscan package on this library's own faces."""
        view = self.view()
        rows, hierarchy = self._hierarchies.get(
            view, params.blur_threshold, params.min_samples, part_of(progress, 0.0, 0.2)
        )
        vectors = view.faces.vectors[rows]
        return reference.verify(vectors, hierarchy, params.min_samples, params.extraction, part_of(progress, 0.2, 1.0))

    @property
    def waiting_for_rebuild(self) -> int:
        """Faces set aside since the hierarchy was built; they leave it at the next one."""
        view = self.view()
        base = self._hierarchies.base(view, self._live_threshold(view))
        return 0 if base is None else int(view.state.is_masked[base[0]].sum())

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
                decisions.confirm(draft, person, self._faces_of(person))
            what = f"Named {known.name or 'somebody'} “{text}”" if text else f"Took the name “{known.name}” away"
            return what + (f" and confirmed {_faces(self._faces_of(person))}" if confirm else "")

        return self._say(say)

    def confirm(self, person: PersonId, faces: Sequence[FaceId] | None = None) -> int:
        """Pin faces to a person: all that the person has, or these."""

        def say(draft: Draft) -> str:
            chosen = list(faces) if faces is not None else self._faces_of(person)
            self._check(chosen)
            decisions.confirm(draft, person, chosen)
            return f"Confirmed {_faces(chosen)} of {self._called(person)}"

        return self._say(say)

    def merge(self, into: PersonId, others: Sequence[PersonId]) -> int:
        """Make several people one."""

        def say(draft: Draft) -> str:
            titles = []
            for other in others:
                anchors = [*self._anchors(into), *self._anchors(other)]
                titles.append(self._called(other))
                self._called(into)
                decisions.merge(draft, into, other, anchors)
            return f"Merged {', '.join(titles)} into {self._called(into)}"

        return self._say(say)

    def move(self, faces: Sequence[FaceId], to: PersonId) -> int:
        """Give faces to a person; whoever had them is told that they are not theirs."""

        def say(draft: Draft) -> str:
            self._check(faces)
            decisions.move(draft, {face: self.view().owner(face) for face in faces}, to)
            return f"Gave {_faces(faces)} to {self._called(to)}"

        return self._say(say)

    def new_person(self, faces: Sequence[FaceId], name: str = "") -> PersonId:
        """Make a person of faces."""
        made: list[PersonId] = []
        text = decisions.clean_name(name)

        def say(draft: Draft) -> str:
            self._check(faces)
            person = decisions.new_person(draft, min(faces))
            made[:] = [person]
            decisions.rename(draft, person, text)
            decisions.move(draft, {face: self.view().owner(face) for face in faces}, person)
            return f"Made {f'“{text}”' if text else 'a new person'} of {_faces(faces)}"

        self._say(say)
        return made[0]

    def reject(self, faces: Sequence[FaceId], person: PersonId) -> int:
        """Say that faces are not this person."""

        def say(draft: Draft) -> str:
            self._check(faces)
            decisions.reject(draft, faces, person)
            return f"{_faces(faces)} {'is' if len(faces) == 1 else 'are'} not {self._called(person)}"

        return self._say(say)

    def mark(self, faces: Sequence[FaceId], value: Mark | None) -> int:
        """Set faces aside, or take them back with None."""
        words = {"ignored": "Ignored", "not_a_face": "Not a face:", None: "Took back"}

        def say(draft: Draft) -> str:
            self._check(faces)
            decisions.mark(draft, faces, value)
            return f"{words[value]} {_faces(faces)}"

        return self._say(say)

    def hide(self, people: Sequence[PersonId], is_hidden: bool = True) -> int:
        """Hide people from the grid, or show them again."""

        def say(draft: Draft) -> str:
            names = [self._called(person) for person in people]
            for person in people:
                draft.set("hidden", person, "1" if is_hidden else None)
            return f"{'Hid' if is_hidden else 'Showed'} {', '.join(names)}"

        return self._say(say)

    def set_cover(self, person: PersonId, face: FaceId | None) -> int:
        """Choose the face shown for a person; None leaves it to the rule."""

        def say(draft: Draft) -> str:
            if face is not None and self.view().owner(face) != person:
                raise InputError(
                    f"The face {face!r} is not {self._called(person)}'s. Nothing was changed. Choose one of theirs."
                )
            draft.set("cover", person, face)
            return f"Chose the cover of {self._called(person)}"

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
            into, other = self._survivor(a, b)
            return self.merge(into, [other])

        def say(draft: Draft) -> str:
            of_a, of_b = self._anchors(a), self._anchors(b)
            if not of_a or not of_b:
                raise InputError("One of the two has no faces any more. Nothing was changed. Reload the page.")
            decisions.tell_apart(draft, a, of_a[0], b, of_b[0])
            return f"{self._called(a)} and {self._called(b)} are different people"

        return self._say(say)

    def _answer_keep(self, person: PersonId, is_yes: bool) -> int:
        view = self.view()
        rows = view.rows(person)
        fallen = (view.label[rows] < 0) & (view.label[rows] != UNSEEN) & (view.state.pin[rows] < 0)
        loose = [view.faces.ids[row] for row in rows[fallen]]
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

        def build() -> None:
            draft = decisions.undo(self._people.read(), record)
            self._people.apply(draft.change(self.user, f"Undid “{record.title}”", undoes=revision))

        self._retried(build)
        return self._people.revision()

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
        """Apply what `say` drafts on the newest snapshot; built anew where somebody else wrote meanwhile."""

        def build() -> None:
            draft = Draft(self.view().snapshot)
            title = say(draft)
            if draft.decisions:
                self._people.apply(draft.change(self.user, title))

        self._retried(build)
        return self._people.revision()

    def _retried(self, build: Callable[[], None]) -> None:
        for attempt in range(_RETRIES):
            revision = self._people.revision()
            try:
                return build()
            except StaleWriteError:
                # Only a race is worth another try: with nothing new written, the answer would be the same.
                if self._people.revision() == revision or attempt == _RETRIES - 1:
                    raise
        return None

    def _check(self, faces: Sequence[FaceId]) -> None:
        if not faces:
            raise InputError("No face is selected. Nothing was changed. Select one or more.")
        for face in faces:
            self.view().row(face)

    def _faces_of(self, person: PersonId) -> list[FaceId]:
        view = self.view()
        return [view.faces.ids[row] for row in view.rows(person)]

    def _anchors(self, person: PersonId) -> list[FaceId]:
        """Faces that hold a person together: one of each live cluster, confirmed ones and then certain ones first."""
        view = self.view()
        rows = view.rows(person)
        order = rows[np.lexsort((rows, -view.strength[rows], view.state.pin[rows] < 0))]
        _, first = np.unique(view.label[order], return_index=True)
        return [view.faces.ids[row] for row in order[np.sort(first)]]

    def _called(self, person: PersonId) -> str:
        known = self.view().person(person)
        return f"“{known.name}”" if known.name else f"an unnamed person ({_faces(self.view().rows(person))})"

    def _survivor(self, a: PersonId, b: PersonId) -> tuple[PersonId, PersonId]:
        """Whoever has a name, then whoever has more faces."""
        first, second = sorted((a, b), key=lambda p: (not self.view().person(p).name, -len(self.view().rows(p)), p))
        return first, second

    def _live_threshold(self, view: View) -> float:
        run = view.snapshot.run
        value = run.params.get("blur_threshold") if run is not None else None
        return float(value) if isinstance(value, int | float) else self.settings.blur_threshold


def _faces(some: Sized) -> str:
    return "1 face" if len(some) == 1 else f"{len(some):,} faces"
