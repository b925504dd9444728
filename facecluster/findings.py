"""What the doctor finds, and how each of its checks is kept within its time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import TimeoutError as LateError
from multiprocessing.pool import ThreadPool
from typing import Literal, TypeVar

from facecluster.errors import StoreUnavailableError

LIMIT_S = 10.0
PRINTABLE = re.compile(r"[\x21-\x7e]*")  # what a key can be made of; anything else is a slip of copying

State = Literal["ok", "note", "wrong", "skipped"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    check : str
        What was looked at.
    state : State
        "ok"; "note": it works, and here is what to know; "wrong": it does not, and here is what to do; "skipped": it
        could not be looked at, because of something wrong above.
    says : str
        One or a few sentences.
    """

    check: str
    state: State
    says: str

    def in_words(self) -> str:
        """The finding as a line of text."""
        return f"{self.state:8}{self.check}: {self.says}"


def within(limit_s: float, work: Callable[[], _T]) -> _T:
    """What `work` returns.

    Raises
    ------
    StoreUnavailableError
        If it takes longer. Looking up a name, or an answer that drips, knows no time limit of its own, so the work is
        left behind in a thread that ends with the process.
    """
    pool = ThreadPool(1)
    try:
        return pool.apply_async(work).get(limit_s)
    except LateError as exc:
        raise StoreUnavailableError(f"There was no answer within {limit_s:g} seconds.") from exc
    finally:
        pool.terminate()


def skipped(*checks: str) -> Iterator[Finding]:
    """Findings of checks that need something which is wrong."""
    return (Finding(check, "skipped", "Mend what is wrong first.") for check in checks)


def in_a_sentence(exc: Exception) -> str:
    """What somebody else's error says, on one line and with an end."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
