"""Whose Streamlit's own addresses are: files that a page offers or makes, and places where a page takes them.

Streamlit hands a file to whoever knows its address, and takes one for whoever knows the number of a window. Both are
hard to guess; neither is a reason. There is no public way to ask, so this reads its own tables; a test watches that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from threading import Lock

from streamlit.runtime import exists, get_instance
from streamlit.runtime.memory_media_file_storage import _calculate_file_id

from facecluster.errors import SignedOutError
from facecluster.identity import identity_of
from facecluster.ui import sign_in

MEDIA, UPLOAD = "/media/", "/_stcore/upload_file/"
_MOST_MADE = 1000  # files made on demand whose makers are remembered; Streamlit drops the files long before

_makers: dict[str, set[str]] = {}  # by Streamlit's number of a file
_lock = Lock()


def is_of(user: str, path: str) -> bool:
    """Whether an address of Streamlit's belongs to a window of this user; other addresses belong to nobody."""
    if path.startswith(MEDIA):
        return user in _users_of_file(PurePosixPath(path).stem)
    if path.startswith(UPLOAD):
        return _user_of_window(path.removeprefix(UPLOAD).partition("/")[0]) == user
    return True


def made(make: Callable[[], str], name: str, mime: str) -> Callable[[], str]:
    """What makes a file when its button is pressed, for whoever looks at the page now.

    Streamlit calls it outside of the page's run, for any window that knows its number, and remembers nobody: so this
    looks whether the session lives, and notes whose the file is.
    """
    user, token = sign_in.user(), sign_in.asking()[1] if sign_in.is_on() else ""
    if user is None:
        return make

    def noted() -> str:
        found = sign_in.session_of(token)
        if found is None or found.user != user:
            raise SignedOutError("You are signed out: the session is over. No file was made. Sign in again.")
        text = make()
        file = _calculate_file_id(text.encode(), mime, name)
        with _lock:
            _makers[file] = {*_makers.pop(file, ()), user}
            while len(_makers) > _MOST_MADE:
                _makers.pop(next(iter(_makers)))
        return text

    return noted


def _users_of_file(file: str) -> set[str | None]:
    if not exists():
        return set()
    with _lock:
        made = set(_makers.get(file, ()))
    shown = get_instance().media_file_mgr._files_by_session_and_coord
    return made | {_user_of_window(window) for window, files in [*shown.items()] if file in [*files.values()]}


def _user_of_window(window: str) -> str | None:
    if not exists():
        return None
    found = get_instance()._session_mgr.get_session_info(window)
    who = identity_of(found.session._user_info) if found is not None else None
    return who.user if who is not None else None
