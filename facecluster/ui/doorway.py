"""The page for who is not signed in, or not any more, and the way out for who is."""

from __future__ import annotations

import streamlit as st
from streamlit.auth_util import get_secrets_auth_section

from facecluster.errors import SignedOutError
from facecluster.identity import Identity, identity_of
from facecluster.ui import session, sign_in, widgets

_WATCH_EVERY_S = 20.0


def is_inside() -> bool:
    """Whether the page may be drawn: where nobody signs in, or whoever asks is signed in."""
    if not sign_in.is_on():
        return True
    if sign_in.current() is None:
        return False
    sign_in.note()
    return True


def aside() -> None:
    """In the sidebar: who is signed in, and the way out."""
    if not sign_in.is_on():
        return
    found = sign_in.current()
    if found is None:  # since this page began
        st.rerun()
    with st.container(key="fc-signed-in", gap="xsmall"):
        st.text(f"Signed in as {found.who.shown}")
        st.button("Sign out", key="fc-sign-out", type="tertiary", on_click=_sign_out)
    _watch()


def on_error(exc: Exception) -> bool:
    """Show the way back in where a button found its session over; any other error is shown as ever."""
    if not isinstance(exc, SignedOutError):
        return False
    draw()
    return True


@st.fragment(run_every=_WATCH_EVERY_S)
def _watch() -> None:
    """Clear the screen soon after a session is over; this counts as nothing that was done."""
    if sign_in.current() is None:
        st.rerun(scope="app")


def _sign_out() -> None:
    # Before the browser is sent away: it may never arrive, and other windows must not go on.
    sign_in.end()
    st.logout()


def draw() -> None:
    """The page for who is outside: who they are here, and the way in."""
    claims, token = sign_in.asking()
    who = identity_of(claims) if claims.get("is_logged_in") is True else None
    with st.container(key="fc-outside", width=480, gap="medium"):
        if who is None:
            _nobody()
        elif not sign_in.is_let_in(who):
            _not_let_in(who)
        else:
            _is_over(who, bool(token))


def _nobody() -> None:
    st.title("Sign in", anchor=False)
    if st.query_params.get("sign-in") == "failed":
        session.problem(
            "Signing in did not work, and nothing was opened. Try again; if it stays, tell whoever runs this server."
        )
    st.text("This is a library of faces, open to the people who were let in.")
    _ways_in()


def _not_let_in(who: Identity) -> None:
    st.title("Not let in", anchor=False)
    st.text(
        f"You are known here as {who.shown}, who is not on the list of this library. Nothing was opened. Whoever runs "
        "this server can add you; they need this line:"
    )
    st.code(who.user, language=None, wrap_lines=True)
    if not who.email:
        st.text(
            "Your provider does not say that your e-mail address is verified, so an address on the list does not count."
        )
    st.button("Sign in as somebody else", key="fc-other-sign-in", on_click=_sign_out)


def _is_over(who: Identity, had_session: bool) -> None:
    st.title("Signed out", anchor=False)
    # No news bar of the page before: it would tell names to whoever sits here now.
    text = session.pending_problem()
    if text:
        session.problem(text)
    why = "The session is over, or was ended elsewhere. " if had_session else ""
    st.text(f"{why}What was saved is all there. Last signed in here: {who.shown}.")
    _ways_in()


def _ways_in() -> None:
    """A button for each provider that is set up."""
    found = sign_in.providers(get_secrets_auth_section())
    for provider in found:
        label = "Sign in" if len(found) == 1 else f"Sign in with {provider}"
        args = () if provider == "default" else (provider,)
        st.button(
            widgets.escaped(label),
            key=f"fc-sign-in-{provider}",
            type="primary",
            on_click=st.login,
            args=args,
            width=240,
        )
