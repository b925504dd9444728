"""An answer of Find as tiles under headings: person by person, or photo by photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from facecluster.answers import Answer, Found
from facecluster.model import PersonId
from facecluster.ui import blended, finding, session, widgets
from facecluster.ui.face_rows import Row, Section, Target
from facecluster.ui.finding import Query

FEW = 12  # faces of one person before the next one is shown
_TARGETS = 10


def by_person(asked: Query, answered: Answer) -> tuple[list[Row], list[Section]]:
    """A few faces of each person, or all where that was asked for."""
    rows: list[Row] = []
    sections = []
    likely, blends, whole = likely_same(asked), blended.warnings(), finding.shown_whole()
    for person, some in groupby(answered.faces, key=lambda one: one.person):
        inside = list(some)
        shown = inside if person in whole else inside[:FEW]
        rows += [row(one) for one in shown]
        sections.append(_person(person, inside, len(shown), likely, blends.get(person, "") if person else ""))
    return rows, sections


def _person(
    person: PersonId | None, inside: Sequence[Found], n_shown: int, likely: frozenset[PersonId], blend: str
) -> Section:
    nearest = inside[0]
    card = session.view().card_of.get(person) if person is not None else None
    count = Counter(one.why for one in inside)
    said = [widgets.faces(len(inside))]
    if 0 < count["direct"] < len(inside):
        said.append(f"{count['direct']:,} direct")
    if nearest.distance is not None and nearest.cosine is not None:
        said.append(f"the nearest at {widgets.alike(nearest.distance, nearest.cosine)}")
    said += ["probably the same person"] * (person in likely) + [blend] * bool(blend)
    deeds = [("open", "See this person")] if card else []
    if n_shown < len(inside):
        deeds.append(("all", f"Show all {len(inside):,}"))
    return Section(
        person or "nobody", widgets.called(card.name) if card else "Nobody's faces", n_shown, ", ".join(said),
        card.cover if card else None, tuple(deeds),
    )  # fmt: skip


def by_photo(answered: Answer) -> tuple[list[Row], list[Section]]:
    """Photo by photo, with who else is there; no headings where each of them shows one face."""
    view, photo = session.view(), session.view().faces.photo_number
    rows = [row(one) for one in answered.faces]
    if len(rows) == answered.n_photos:
        return rows, []
    sections = []
    for _, some in groupby(
        answered.faces, key=lambda one: int(photo[view.row(one.face)]) if _has_photo(one) else one.face
    ):
        inside = list(some)
        card = view.face(inside[0].face)
        said = [card.folder] if card.folder else []
        others = _others(inside)
        said += [f"also there: {others}"] if others else []
        sections.append(
            Section(
                f"photo-{inside[0].face}",
                _tail(card.photo) or "Photo unknown",
                len(inside),
                " · ".join(said),
                deeds=(("open", "See the photo"),),
            )
        )
    return rows, sections


def _has_photo(one: Found) -> bool:
    return bool(session.view().face(one.face).photo)


def _others(inside: Sequence[Found]) -> str:
    """Who is in the photo beside those who are shown."""
    view, shown = session.view(), {one.face for one in inside}
    others = [face.person for face in view.in_photo(inside[0].face) if face.id not in shown]
    names = sorted({view.person(person).name for person in others if person is not None} - {""})
    n_more = len(others) - len(names)
    return ", ".join([*names, *([f"{n_more:,} without a name" if names else widgets.faces(n_more)] if n_more else [])])


def _tail(photo: str, most: int = 48) -> str:
    """The end of a photo's name or address: what stands before is the same for all."""
    name = photo.rstrip("/").rpartition("/")[2] or photo
    return name if len(name) <= most else f"…{name[1 - most :]}"


def row(one: Found) -> Row:
    """A face, with why it is there: how alike it is, or how sure it is that it is whose it is said to be."""
    if one.why == "direct" and one.cosine is not None:
        return Row(one.face, "", f"direct {one.cosine:.2f}", one.face)
    if one.why == "same person":
        face = session.view().face(one.face)
        return Row(one.face, "", widgets.certainty(face.is_confirmed, face.strength), one.face)
    return Row(one.face, "", "", one.face, warning="suggested" if one.why == "suggested" else "")


def likely_same(asked: Query) -> frozenset[PersonId]:
    """Those who are probably the same as somebody who is asked about, where that was asked for."""
    if not asked.is_suggested:
        return frozenset()
    likely = finding.likely_same()
    return frozenset(other for person in asked.people for other in likely.get(person, ()))


def targets(asked: Query, answered: Answer) -> list[Target]:
    """People onto whom faces are dragged: those asked about and those found, who have a name."""
    of = dict.fromkeys((*asked.people, *(one.person for one in answered.faces)))
    cards = [card for person in of if person and (card := session.view().card_of.get(person)) and card.name]
    return [Target(card.id, card.name, card.cover) for card in cards[:_TARGETS]]
