"""Who looks at this page, and whether they still may.

Streamlit signs in, by OpenID Connect, and its cookie says who somebody is for 31 days. Whether they may go on is ours
to say, and is asked of the file of sessions each time: a session ends, and can be ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import streamlit as st
from streamlit.auth_util import get_secrets_auth_section

from facecluster.config import Settings, load_settings
from facecluster.errors import SignedOutError
from facecluster.identity import AllowList, Identity, allow_list, identity_of
from facecluster.model import UserId
from facecluster.sessions import Sessions, SignedIn
from facecluster.ui.settings_now import settings_now
from facecluster.wiring import open_sessions

COOKIE = "facecluster_session"
# Under this name a request carries whose session it belongs to, where the gate found one.
WHOSE = "facecluster.user"

# What the server found when it started. It never changes while it runs: a secrets file that is removed, or broken, must
# not open the door.
_found_at_start: bool | None = None


def fix(is_configured: bool) -> None:
    """Say once, when the server starts, whether people sign in."""
    global _found_at_start
    _found_at_start = is_configured


def is_on() -> bool:
    """Whether people sign in here: there is a section [auth] in the secrets."""
    return bool(get_secrets_auth_section()) if _found_at_start is None else _found_at_start


def providers(auth: Mapping[str, object]) -> list[str]:
    """Names of the providers of a section [auth]; "default" for the one that stands in it directly."""
    named = [name for name, value in auth.items() if isinstance(value, Mapping) and value.get("client_id")]
    return ["default"] * bool(auth.get("client_id")) + named


def session_of(token: str) -> SignedIn | None:
    """The session of a browser's cookie, where it is alive and its user is still let in."""
    settings = load_settings()
    found = sessions(settings).find(token)
    return found if found is not None and _allowed(settings.allowed).admits(found.who) else None


def may_see(scope: Mapping[str, object], whose: str) -> bool:
    """Whether a request may see what belongs to a user: any request where nobody signs in, else the user's own."""
    return not is_on() or scope.get(WHOSE) == whose


def is_let_in(who: Identity) -> bool:
    """Whether the list of the settings has somebody."""
    return _allowed(load_settings().allowed).admits(who)


def asking() -> tuple[Mapping[str, object], str]:
    """What the browser brought when it opened the page: claims that Streamlit verified, and our cookie."""
    return st.user.to_dict(), st.context.cookies.get(COOKIE, "")


def current() -> SignedIn | None:
    """The session of the page that this thread works for: the provider's word and our cookie must name one user."""
    claims, token = asking()
    who = identity_of(claims) if claims.get("is_logged_in") is True else None
    found = session_of(token) if who is not None else None
    return found if found is not None and who is not None and found.user == who.user else None


def user() -> UserId | None:
    """Whose library the page of this thread is about; None where nobody signs in.

    Raises
    ------
    SignedOutError
        If people sign in and the session of this page is over.
    """
    if not is_on():
        return None
    found = current()
    if found is None:
        raise SignedOutError(
            "You are signed out: the session is over, or was ended elsewhere. What you did last was not saved. Sign in "
            "again to go on."
        )
    return found.user


def may_write() -> None:
    """Raise `SignedOutError` where the session of this page is over; note that something is done where it is not."""
    if user() is not None:
        note()


def note() -> None:
    """Something was done: the session does not lie idle."""
    token, all_ = asking()[1], sessions()
    found = all_.find(token)
    if found is not None:
        all_.touch(found, token)


def end() -> None:
    """End the session of the page that this thread works for, in all its windows."""
    sessions().end(asking()[1], "signed out")


_opened: dict[tuple[str, float, float], Sessions] = {}


def sessions(settings: Settings | None = None) -> Sessions:
    """All sessions of this installation."""
    s = settings or settings_now()
    key = (str(s.library), s.session_hours, s.idle_minutes)
    if key not in _opened:
        _opened[key] = open_sessions(s)
    return _opened[key]


@lru_cache(maxsize=8)
def _allowed(entries: tuple[str, ...]) -> AllowList:
    return allow_list(entries)
