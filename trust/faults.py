"""R6: the disk is full, broken or read-only, or no more files can be opened: one sentence, and nothing is lost."""

from __future__ import annotations

import errno
import random
from itertools import count

from trust.disk import ERRORS, FAIL_ON, FAIL_ONCE, built
from trust.measure import Found, Measure, cases
from trust.states import ACTS, Trials, performed, trials


def failed_at(made: Trials, act: str, at: int, number: int, how: int) -> tuple[bool, str]:
    """Do an act while the call of this number fails, or all from it on: whether it did, and what is wrong by then."""
    library = made.fresh(act)
    end = made.nursery.do(performed(act), library, kinds=ERRORS[number], how=how, at=at, number=number)
    case = f"{act}, {errno.errorcode[number]} {'from' if how == FAIL_ON else 'at'} call {at} ({end.hit})"
    is_hit = end.is_killed or end.n > at
    wrong = ""
    if end.is_killed:
        wrong = "the process died"
    elif end.error and not end.is_ours:
        wrong = f"{end.error}: {end.message}"
    elif end.error and not is_a_sentence(end.message):
        wrong = f"no sentence that says what to do: {end.message}"
    wrong = wrong or made.broken(act, library, claims_nothing="Nothing was" in end.message)
    made.let_go(library)
    return is_hit, f"{case}: {wrong}" if wrong else ""


def is_a_sentence(message: str) -> bool:
    """Whether it says what was not done, or what is so, and ends as a sentence does."""
    return message.rstrip().endswith(".") and any(
        word in message
        for word in ("Nothing was", "is not written", "shows when", "was not", "is computed", "finishes it")
    )


def everywhere(made: Trials, act: str, number: int, how: int, stride: int = 1, start: int = 0) -> Found:
    """Let each call fail in turn, or every so many, until none is left."""
    found = Found()
    for at in count(start, stride):
        is_hit, wrong = failed_at(made, act, at, number, how)
        if wrong:
            found.failures.append(wrong)
        if not is_hit:
            return found
        found.n += 1


def all_calls(seed: int, seconds: float) -> Found:
    """Each call of each act, each error, once and from then on; in an order by chance, as far as the time goes."""
    try:
        built()
    except RuntimeError as exc:
        return Found(not_run=str(exc))
    found = Found()
    chance = random.Random(seed)
    todo = [(act, number, how) for act in ACTS for number in ERRORS for how in (FAIL_ONCE, FAIL_ON)]
    chance.shuffle(todo)
    done = 0
    with trials() as made:
        for i in cases(seconds, len(todo)):
            one = everywhere(made, *todo[i])
            found.n, done = found.n + one.n, done + 1
            found.failures += one.failures
    found.note = f"{done} of {len(todo)} pairs of an act and an error, each at every call: " + ", ".join(
        errno.errorcode[number] for number in ERRORS
    )
    return found


MEASURES = [
    Measure("R6", "a failing disk: one sentence, nothing lost, done again", "failed calls", 2_000, 2, all_calls)
]
