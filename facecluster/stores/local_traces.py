"""What is left of people on this machine once they are erased from the library in use: other libraries, free pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from facecluster.errors import StoreUnavailableError
from facecluster.model import FaceId, UserId
from facecluster.stores.intake import forget_aside
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore


def erase_here(folder: Path, user: UserId, faces: Sequence[FaceId], people: Sequence[str]) -> None:
    """Erase faces and people from every library below a user's folder: of earlier settings too, and what lies aside."""
    for database in _libraries(folder, user):
        store = LocalFaceStore(database)
        forget_aside(store)
        store.remove(faces)
        LocalPeopleStore(database).forget((*faces, *people))


def compact(folder: Path, user: UserId) -> None:
    """Write every library below a user's folder anew, so that no free page holds what was deleted.

    Raises
    ------
    StoreUnavailableError
        If somebody still reads an older moment: what was deleted stays in the write-ahead log until they are done.
    """
    for database in _libraries(folder, user):
        if not database.compact():
            raise StoreUnavailableError(
                f"The people were erased, but another process still reads {database.path} as it was before, and keeps "
                "traces in its write-ahead log. Close other windows and commands; opening the library again, or the "
                "same command, finishes it."
            )


def _libraries(folder: Path, user: UserId) -> Iterator[Database]:
    for path in (folder / "library.db", *sorted(folder.glob("hosted/*/library.db"))):
        if path.is_file():
            yield Database(path.parent, user)
