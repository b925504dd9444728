"""Whose Streamlit's own addresses are: files that a page offers, and places where a page takes them.

Streamlit hands a file to whoever knows its address, and takes one for whoever knows the number of a window. Both are
hard to guess; neither is a reason. There is no public way to ask, so this reads its own tables; a test watches that.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from streamlit.runtime import exists, get_instance

from facecluster.identity import identity_of

MEDIA, UPLOAD = "/media/", "/_stcore/upload_file/"


def is_of(user: str, path: str) -> bool:
    """Whether an address of Streamlit's belongs to a window of this user; other addresses belong to nobody."""
    if path.startswith(MEDIA):
        return user in _users_of_file(PurePosixPath(path).stem)
    if path.startswith(UPLOAD):
        return _user_of_window(path.removeprefix(UPLOAD).partition("/")[0]) == user
    return True


def _users_of_file(file: str) -> set[str | None]:
    if not exists():
        return set()
    shown = get_instance().media_file_mgr._files_by_session_and_coord
    return {_user_of_window(window) for window, files in [*shown.items()] if file in [*files.values()]}


def _user_of_window(window: str) -> str | None:
    if not exists():
        return None
    found = get_instance()._session_mgr.get_session_info(window)
    who = identity_of(found.session._user_info) if found is not None else None
    return who.user if who is not None else None
