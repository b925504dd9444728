"""What a face grid is made of: tiles, headings over some of them, and what a page does when something is done there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from facecluster.model import FaceId


@dataclass(frozen=True)
class Row:
    """One tile.

    Attributes
    ----------
    id, name : str
        What it stands for, and its name; "" for faces.
    line, warning : str
        The grey line below, and what follows it in amber.
    face : FaceId | None
        Whose picture it shows.
    n_faces : int
    is_hidden : bool
        Part of what the list is made of: somebody who is hidden is another tile.
    likeness : tuple[float, float | None] | None
        A cosine, drawn as a bar, and how alike it has to be, a mark on the bar.
    """

    id: str
    name: str
    line: str
    face: FaceId | None
    n_faces: int = 1
    is_hidden: bool = False
    warning: str = ""
    likeness: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class Section:
    """A heading over some tiles.

    Attributes
    ----------
    id : str
        No two sections of a grid have the same.
    n : int
        Tiles below it; the sections of a grid divide its tiles among them, in order.
    deeds : Sequence[tuple[str, str]]
        Its buttons: what `Deeds.section` hears, and what they say. "open" is no button: a click on the title does it.
    """

    id: str
    title: str
    n: int
    line: str = ""
    face: FaceId | None = None
    deeds: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Target:
    """A person onto whom faces can be dropped."""

    id: str
    name: str
    face: FaceId | None


@dataclass(frozen=True)
class Deeds:
    """What the page does about what happened in the grid.

    Attributes
    ----------
    open : Callable[[str], None]
        A tile was clicked: its id.
    rename : Callable[[str, str, str], None] | None
        A name was typed: id, name, and the name that was seen. None for tiles without names.
    drop : Callable[[Sequence[str], str], None] | None
        Tiles were dropped: their ids, and on whom.
    section : Callable[[str, str], None] | None
        A button of a heading was pressed: the section's id and the deed.
    keys : Mapping[str, Callable[[str], None]]
        Letters that do something to the tile that has the focus, while nothing is selected.
    passing : str
        Those of them after which the next tile has the focus: the one before is dealt with.
    hint : str
        What the letters do, for who has a keyboard.
    """

    open: Callable[[str], None]
    rename: Callable[[str, str, str], None] | None = None
    drop: Callable[[Sequence[str], str], None] | None = None
    section: Callable[[str, str], None] | None = None
    keys: Mapping[str, Callable[[str], None]] = field(default_factory=dict)
    passing: str = ""
    hint: str = ""
