"""What every store of people says when it refuses a change or knows no run, in the same words."""

from __future__ import annotations

from facecluster.errors import InputError, StaleWriteError
from facecluster.ports import KEPT_RUNS


def changed_meanwhile(title: str | None, author: str | None, revision: int, base: int) -> StaleWriteError:
    """The library is at another revision than the change was made on; `title` of the last change, None before any."""
    last = "nothing yet" if title is None else f"“{title}” by {author}"
    return StaleWriteError(
        f"Somebody changed this library meanwhile: {last} (revision {revision}, and yours was made on {base}). "
        "Nothing was written. Look at what changed, then do it again."
    )


def said_meanwhile(
    kind: str, subject: str, found: str | None, before: str | None, value: str | None
) -> StaleWriteError:
    """A fact has another value than a decision was made on."""
    return StaleWriteError(
        f"{kind} of {subject!r} is {found!r} now and was {before!r} when this was prepared (it would have become "
        f"{value!r}). Nothing was written. Look again, then repeat it."
    )


def run_not_kept(run: str) -> StaleWriteError:
    """A run that is to be shown is gone."""
    return StaleWriteError(
        f"The run {run!r} is no longer kept: the last {KEPT_RUNS} are, the one that is shown, and those with a name. "
        "Nothing was written. Choose one of the runs that `History` lists."
    )


def no_run(run: str) -> InputError:
    """There is no such run."""
    return InputError(f"There is no run {run!r}. Nothing was changed. `History` lists the runs there are.")
