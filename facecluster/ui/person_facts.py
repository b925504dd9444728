"""What a person's page says beside the faces: by what the cover was chosen, and in which folders they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from facecluster.model import PersonId
from facecluster.view import View

_MOST_BARS = 40


def cover_rule(view: View, person: PersonId) -> str:
    """How the face that is shown for a person was chosen, in words; "" where there is none."""
    rows = view.rows(person)
    chosen = view.person(person).cover
    if chosen is not None and view.faces.row.get(chosen, -1) in rows:
        return "Cover chosen by hand"
    if not len(rows):
        return ""
    is_sharp = ~(view.faces.blur_score[rows] < view.blur_threshold)
    if is_sharp.any():
        return "Cover by rule: of the sharp faces the one nearest to the middle of all"
    return "Cover by rule: the sharpest face, for none is sharp"


def folders(view: View, person: PersonId) -> list[tuple[str, int]]:
    """The folders a person is in and how many of their faces lie in each, by name; "" for an unknown one, last."""
    count = Counter(view.faces.folder[row] for row in view.rows(person).tolist())
    return sorted(count.items(), key=lambda one: (not one[0], one[0]))


def bars(counts: Sequence[int]) -> str:
    """SVG of a bar for each count, or for each few where there are many."""
    each = -(-len(counts) // _MOST_BARS)
    sums = [sum(counts[at : at + each]) for at in range(0, len(counts), each)]
    tall = [max(3, round(34 * n / max(sums))) for n in sums]
    step = max(4, min(12, 160 // len(sums)))
    drawn = "".join(
        f'<rect x="{step * at}" y="{34 - h}" width="{step - 2}" height="{h}" rx="1"/>' for at, h in enumerate(tall)
    )
    size = f'width="{step * len(sums)}" height="34"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="#a79d90">{drawn}</svg>'
