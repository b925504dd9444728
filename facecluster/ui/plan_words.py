"""A plan in plain words: one story a person, and the sentence beside Publish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facecluster.model import PersonId, Question
from facecluster.plan import CRUMB, Plan, PlanLine, RowGroups, rows_by_person
from facecluster.tally import distinct
from facecluster.ui.widgets import faces, plural
from facecluster.view import View

Rows = NDArray[np.int32]
Kind = Literal["split", "merged", "gone", "new", "grown", "shrunk"]
_NONE = np.empty(0, np.int32)
KINDS: dict[Kind, str] = {
    "split": "Split", "merged": "Merged", "gone": "Gone", "new": "New", "grown": "Grown", "shrunk": "Shrunk",
}  # fmt: skip


class Story(NamedTuple):
    """What would happen to a person, or to several of whom the same is to be told.

    Attributes
    ----------
    key : str
        Different for each story of a plan.
    n_people : int
        Whom it is about.
    cover : int
        Face row to show, -1 for none.
    context : Rows
        Faces that stay, to compare with.
    strips : tuple[Rows, ...]
        Face rows in groups, the most telling first: who comes, who leaves.
    alarm : str
        Why to look twice; "" mostly.
    people : tuple[PersonId, ...]
        Whose faces are all the faces it is about.
    """

    kind: Kind
    key: str
    title: str
    detail: str
    is_named: bool
    cover: int = -1
    context: Rows = _NONE
    strips: tuple[Rows, ...] = ()
    n_people: int = 1
    n_faces: int = 0
    alarm: str = ""
    people: tuple[PersonId, ...] = ()


@dataclass
class _Book:
    """Lookups that all stories of one plan share."""

    plan: Plan
    view: View
    number: dict[PersonId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.number = dict(zip(self.plan.people, range(len(self.plan.people)), strict=True))

    @cached_property
    def best_first(self) -> RowGroups:
        """What each person gains, the most certain first: sorted at once, for there may be thousands of new people."""
        plan = self.plan
        rows = np.flatnonzero((plan.before != plan.after) & (plan.after >= 0)).astype(np.int32)
        rows = rows[np.argsort(-plan.strength[rows], kind="stable")]
        return rows_by_person(plan.after[rows], rows, len(plan.people))

    @cached_property
    def _stays(self) -> RowGroups:
        plan = self.plan
        rows = np.flatnonzero((plan.before == plan.after) & (plan.after >= 0)).astype(np.int32)
        return rows_by_person(plan.after[rows], rows, len(plan.people))

    def least_certain(self, rows: Rows) -> Rows:
        return rows[np.argsort(self.plan.strength[rows], kind="stable")]

    def stays(self, line: PlanLine) -> Rows:
        return self._stays.of(self.number[line.person])

    def cover(self, line: PlanLine) -> int:
        card = self.view.card_of.get(line.person)
        if card is not None and card.cover is not None:
            return self.view.row(card.cover)
        rows = line.gained if len(line.gained) else line.lost
        return int(rows[np.argmax(self.plan.strength[rows])]) if len(rows) else -1


def stories(plan: Plan, view: View) -> list[Story]:
    """Everybody to whom something would happen: named people first, then by kind, then the most changed."""
    book = _Book(plan, view)
    taken: dict[PersonId, list[PlanLine]] = defaultdict(list)
    for line in plan.lines.changed:
        if line.kind == "merged":
            taken[line.others[0][0]].append(line)
    told: list[Story] = []
    for line in plan.lines.changed:
        absorbed = taken.get(line.person, [])
        if line.kind == "split":
            told.append(_split(book, line))
        if absorbed:
            told.append(_took_in(book, line, absorbed))
        if line.kind in ("grown", "kept") and not absorbed:
            told.append(_grown_or_shrunk(book, line))
        elif line.kind == "new" and not absorbed:
            told.append(_new(book, line))
        elif line.kind == "vanishing" or (line.kind == "merged" and line.name):
            told.append(_gone(book, line))
    order = {kind: i for i, kind in enumerate(KINDS)}
    return sorted(told, key=lambda story: (not story.is_named, order[story.kind], -story.n_faces))


def gathered(told: Sequence[Story]) -> list[Story]:
    """The same with little things told together: new people in one line, and unnamed people who change by one face."""
    new = [story for story in told if story.kind == "new"]
    by_one = {
        kind: [s for s in told if s.kind == kind and not s.is_named and s.n_faces == 1] for kind in ("grown", "shrunk")
    }
    together = [group for group in (new, *by_one.values()) if len(group) > 2]
    folded = {story.key for group in together for story in group}
    found = [story for story in told if story.key not in folded]
    for group in together:
        n, total = len(group), sum(story.n_faces for story in group)
        if group is new:
            title, detail = f"{n:,} new people", faces(total)
            strips = tuple(story.strips[0][:2] for story in group[:4])
            at = next((i for i, s in enumerate(found) if not s.is_named and s.kind in ("grown", "shrunk")), len(found))
        else:
            word = "grow by" if group[0].kind == "grown" else "lose"
            title, detail = f"{n:,} unnamed people {word} one face each", ""
            strips = (np.concatenate([story.strips[0] for story in group]),)
            at = len(found)
        kind = group[0].kind
        found.insert(
            at,
            Story(
                kind,
                f"all-{kind}",
                title,
                detail,
                False,
                group[0].cover,
                strips=strips,
                n_people=n,
                n_faces=total,
                people=tuple(person for story in group for person in story.people),
            ),
        )
    return found


def _split(book: _Book, line: PlanLine) -> Story:
    left = len(line.lost)
    stay = line.before - left
    parts = (stay > 0) + sum(n >= CRUMB * line.before for _, n in line.others)
    where = _destinations(book, line)
    stays = f"{stay:,} keep the name" if line.name else f"{stay:,} stay"
    return Story(
        "split",
        f"split-{line.person}",
        f"{_someone(line.name)} would split in {max(parts, 2)}",
        f"{stays}, {left:,} {'leaves' if left == 1 else 'leave'}: {where}",
        bool(line.name),
        book.cover(line),
        book.stays(line),
        (line.lost,),
        n_faces=len(line.lost),
        people=(line.person,),
    )


def _destinations(book: _Book, line: PlanLine) -> str:
    """Where the faces that a person loses go: "100 to a new person, 48 to Jonas, 3 to nobody"."""
    lines = book.plan.lines
    to = lines.goes.of(book.number[line.person])
    words = [f"{n:,} to {lines.names[p]}" for p, n in to if p >= 0 and lines.names[p]]
    others = [(p, n) for p, n in to if p >= 0 and not lines.names[p]]
    new = [n for p, n in others if lines.n_before[p] == 0]
    unnamed = [n for p, n in others if lines.n_before[p] > 0]
    if new:
        words.append(f"{sum(new):,} to {'a new person' if len(new) == 1 else f'{len(new):,} new people'}")
    if unnamed:
        words.append(f"{sum(unnamed):,} to {_unnamed(len(unnamed))}")
    words += [f"{n:,} to nobody" for p, n in to if p < 0]
    return listed(words, 4)


def _took_in(book: _Book, line: PlanLine, absorbed: Sequence[PlanLine]) -> Story:
    named = [other.name for other in absorbed if other.name]
    unnamed = len(absorbed) - len(named)
    if line.name or (line.before and named):
        title = f"{_someone(line.name)} would take in {_all_of(named, unnamed)}"
    else:
        n = unnamed + (line.before > 0)
        title = f"{_count_word(n)} unnamed people would become one" if n > 1 else "An unnamed person would be made anew"
    rows = np.concatenate([other.lost for other in absorbed])
    photos = book.view.faces.photo_number
    mine = book.stays(line)
    shared = np.intersect1d(photos[mine], photos[rows])
    n_shared = int((shared >= 0).sum())
    first = line.before if line.before else line.after - len(rows)
    detail = f"{first:,} → {line.after:,}, {_signed(line)}" if first > 0 else faces(line.after)
    return Story(
        "merged",
        f"merged-{line.person}",
        title,
        detail,
        bool(line.name or named),
        book.cover(line),
        mine,
        (_in_turn([other.lost for other in absorbed]),),
        n_people=len(absorbed) + 1,
        n_faces=len(rows),
        alarm=f"Together in {plural(n_shared, 'photo', 'photos')}: hardly one person" if n_shared else "",
        people=(line.person,),
    )


def _in_turn(groups: Sequence[Rows]) -> Rows:
    """A face of each group, then the second of each, and so on."""
    turn = np.concatenate([np.arange(len(rows)) for rows in groups])
    return np.concatenate(list(groups))[np.argsort(turn, kind="stable")]


def _grown_or_shrunk(book: _Book, line: PlanLine) -> Story:
    grows = len(line.gained) >= len(line.lost)
    detail = _signed(line)
    if len(line.lost) and not grows:
        detail += f": {_destinations(book, line)}"
    strips = tuple(rows for rows in (book.least_certain(line.gained), line.lost) if len(rows))
    return Story(
        "grown" if grows else "shrunk",
        f"grown-{line.person}",
        f"{_someone(line.name)} {line.before:,} → {line.after:,}",
        detail,
        bool(line.name),
        book.cover(line),
        strips=strips if grows else strips[::-1],
        n_faces=len(line.gained) + len(line.lost),
        people=(line.person,),
    )


def _new(book: _Book, line: PlanLine) -> Story:
    number, names = book.number[line.person], book.plan.lines.names
    came_from = [(p, n) for p, n in book.plan.lines.comes.of(number) if p >= 0]
    whose = [f"{n:,} from {names[p] or 'an unnamed person'}" for p, n in came_from[:2]]
    best_first = book.best_first.of(number)
    return Story(
        "new",
        f"new-{line.person}",
        f"A new person, {faces(line.after)}",
        ", ".join(whose) or "They belong to nobody today",
        False,
        int(best_first[0]),
        strips=(best_first[1:],),
        n_faces=line.after,
        people=(line.person,),
    )


def _gone(book: _Book, line: PlanLine) -> Story:
    title = f"{line.name} would have no faces left" if line.name else "An unnamed person would fall apart"
    detail = f"{faces(line.before)}: {_destinations(book, line)}" + (". The name is kept" if line.name else "")
    return Story(
        "gone",
        f"gone-{line.person}",
        title,
        detail,
        bool(line.name),
        book.cover(line),
        strips=(line.lost,),
        n_faces=len(line.lost),
        alarm="Move faces back by hand, or be less strict" if line.name else "",
        people=(line.person,),
    )


def summary(plan: Plan, told: Sequence[Story]) -> tuple[str, str]:
    """The sentence beside Publish, and what reassures after it."""
    changed = plan.before != plan.after
    written = changed & (plan.after >= 0)
    taken = changed & (plan.after < 0)
    parts = []
    if written.any():
        people = len(distinct(plan.after[written]))
        parts.append(f"writes {faces(int(written.sum()))} into {plural(people, 'person', 'people')}")
    if taken.any():
        parts.append(f"leaves {faces(int(taken.sum()))} to nobody")
    name = {line.person: line.name for line in plan.lines.changed}
    split = [name[story.people[0]] for story in told if story.kind == "split"]
    if split:
        named = [one for one in split if one]
        parts.append(f"splits {_all_of(named, len(split) - len(named))}")
    parts += _joins([(story, name[story.people[0]]) for story in told if story.kind == "merged"])
    gone = [line.name for line in plan.lines.changed if line.name and line.after == 0 and line.before > 0]
    comfort = "It can be undone." if not (plan.before >= 0).any() else "No name is lost, and it can be undone."
    if gone:
        keep = "keeps the name but has" if len(gone) == 1 else "keep their names but have"
        comfort = f"{listed(gone)} {keep} no faces left. It can be undone."
    if plan.questions:
        comfort += f" You will be asked {plural(len(plan.questions), 'question', 'questions')}."
    return f"Publishing {joined(parts)}.", comfort


def _joins(merged: Sequence[tuple[Story, str]]) -> list[str]:
    """Who takes in whom, in one or two phrases."""
    takers = [(story, name) for story, name in merged if name]
    others = [story for story, name in merged if not name]
    words = []
    if takers:
        n = sum(story.n_people - 1 for story, _ in takers)
        words.append(f"adds {plural(n, 'person', 'people')} to {listed([name for _, name in takers])}")
    if others:
        words.append(f"joins {sum(s.n_people for s in others):,} unnamed people into {len(others):,}")
    return words


def question_words(question: Question, view: View) -> str:
    """A question as a sentence, the name first where there is one."""
    people = [view.snapshot.people.get(p) for p in (question.person, question.other) if p is not None]
    names = sorted((p.name if p is not None else "" for p in people), key=lambda name: not name)
    if question.kind == "keep":
        return f"Do these {faces(question.n_faces)} still belong to {names[0] or 'an unnamed person'}?"
    if not any(names):
        return "Are these two unnamed people the same person?"
    return f"Are {names[0]} and {names[1] or 'an unnamed person'} the same person?"


def _someone(name: str) -> str:
    return name or "An unnamed person"


def _unnamed(n: int) -> str:
    return "an unnamed person" if n == 1 else f"{n:,} unnamed people"


def _all_of(named: Sequence[str], n_unnamed: int) -> str:
    return listed([*named, _unnamed(n_unnamed)] if n_unnamed else named)


def _count_word(n: int) -> str:
    return "Two" if n == 2 else f"{n:,}"


def _signed(line: PlanLine) -> str:
    more, fewer = len(line.gained), len(line.lost)
    if more and fewer:
        return f"+{more:,} and −{fewer:,} faces"
    return f"+{faces(more)}" if more else f"−{faces(fewer)}"


def joined(words: Sequence[str]) -> str:
    """Words with commas and an "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def listed(words: Iterable[str], most: int = 3) -> str:
    """The first few, and how many more."""
    known = list(words)
    return joined(known if len(known) <= most else [*known[: most - 1], f"{len(known) - most + 1:,} more"])
