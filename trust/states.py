"""What a library may say after an act was cut short: what it said before or what it says after, and never a mix."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trust.acts import copied, lacking_format_2, make_template, settle, told
from trust.disk import Nursery, nursery

ACTS = ("rename", "publish", "import", "undo", "erase", "prepare", "migrate")


@dataclass
class Trials:
    """A template, the acts on it, and what it says before and after each.

    Attributes
    ----------
    folder : Path
        Of everything here.
    templates : dict
        Library that each act starts from.
    allowed : dict
        For each act, what a library may say: before, on the way where there is such a thing, after.
    """

    folder: Path
    nursery: Nursery
    templates: dict[str, Path]
    allowed: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    n: int = 0

    def fresh(self, act: str) -> Path:
        """A copy of its own; never the place of a deleted one, whose inodes SQLite would remember."""
        self.n += 1
        return copied(self.templates[act], self.folder / f"{self.n:06d}")

    def let_go(self, library: Path) -> None:
        """Done with this copy."""
        shutil.rmtree(library, ignore_errors=True)

    def broken(self, act: str, library: Path, *, claims_nothing: bool = False, must_be_new: bool = False) -> str:
        """What is wrong with a library in which an act was cut short; "" where nothing is.

        It must open as it was before or as it is after, and doing the act (again) must lead there. Where it was said
        that nothing was changed (`claims_nothing`), it must be as before; where it was acknowledged (`must_be_new`),
        as after.
        """
        try:
            found = told(library)
        except Exception as exc:  # noqa: BLE001  a library that does not open is what is looked for
            return f"does not open: {type(exc).__name__}: {exc}"
        found = with_one_word_of_erasing(found)
        if found not in self.allowed[act]:
            return f"a mix of before and after: {differences(found, self.allowed[act])}"
        if must_be_new and found != self.allowed[act][-1]:
            return "it was acknowledged, and is not there"
        if claims_nothing and found != self.allowed[act][0]:
            return "it was said that nothing was changed, and it was"
        if found != self.allowed[act][-1]:
            again = self.nursery.do(performed(act), library)
            if again.error or again.is_killed:
                return f"cannot be done again: {again.error}: {again.message}"
            if (now := with_one_word_of_erasing(told(library))) != self.allowed[act][-1]:
                return f"comes to something else when it is done again: {differences(now, self.allowed[act][-1:])}"
        return ""


def with_one_word_of_erasing(state: dict[str, object]) -> dict[str, object]:
    """The same where an erasing was finished by who opened the library: the log says so, and may say it twice."""
    log = []
    for revision, title, *rest in state["log"]:  # type: ignore[attr-defined]
        title = title.replace("Finished erasing", "Erased")
        if log and rest[-1] and log[-1][1:] == (title, *rest):
            log.pop()
        log.append((revision, title, *rest))
    return {**state, "log": log}


def performed(act: str) -> str:
    """The name under which `Acts` has it."""
    return "open" if act == "migrate" else act


def differences(found: dict[str, object], allowed: list[dict[str, object]]) -> str:
    """Which parts are as in which of the allowed states."""
    return "; ".join(
        f"{part} as in {[i for i, state in enumerate(allowed) if state[part] == found[part]]}" for part in found
    )


@contextmanager
def trials() -> Iterator[Trials]:
    """Everything that trying acts needs, made once and removed at the end."""
    folder = fast_folder()
    try:
        template = make_template(folder / "template")
        bare = copied(template, folder / "template" / "bare")  # of which no hierarchy was computed
        for path in bare.glob("users/*/cache"):
            shutil.rmtree(path)
        old = lacking_format_2(copied(template, folder / "template" / "old"))
        templates = {act: {"prepare": bare, "migrate": old}.get(act, template) for act in ACTS}
        with nursery(template) as warm:
            made = Trials(folder, warm, templates)
            for act in ACTS:
                made.allowed[act] = states(made, act)
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fast_folder() -> Path:
    """A new folder, in memory where there is such a place: thousands of copies are synced, and no power fails here."""
    memory = Path("/dev/shm")  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="facecluster-trust-", dir=memory if os.access(memory, os.W_OK) else None))


def states(made: Trials, act: str) -> list[dict[str, object]]:
    """What a library says before, on the way and after, undisturbed."""
    library = made.fresh(act)
    if act == "migrate":
        end = made.nursery.do("open", library)
        assert not end.error, end
        return [told(library)]  # the same under either format
    found = [told(library)]
    for step in ["erase the faces", "erase"] if act == "erase" else [act]:
        end = made.nursery.do(step, library)
        assert not end.error, end
        found.append(told(library))
    settle(library)
    made.let_go(library)
    return found
