"""R17: nobody is signed in who should not be, and whoever should not be any more stops at once."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from servers.dashboard_client import COOKIE_SECRET, Visitor
from servers.identity_provider import CLIENT_ID, Lies
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from websockets.exceptions import InvalidStatus

from facecluster.ui.settings_now import READ_AGAIN_S
from trust.measure import ROOT, Found, Measure, cases
from trust.signed_place import LIBRARY, Place, is_inside, page_of, place

# --- a provider that lies, or somebody between ----------------------------------------------------------------------


def told(lies: Lies, **claims: object) -> Callable[[Place], str]:
    """A sign-in in which the provider lies: it must come to nothing."""

    def attempt(at: Place) -> str:
        at.provider.lies = replace(lies, claims=claims)
        visitor, before = at.visitor(), at.provider.n_tokens
        visitor.sign_in()
        if at.provider.n_tokens == before and not (lies.no_id_token or lies.state):
            return "no token was handed out, so nothing was refused"
        return "was let in" if visitor.is_in() or visitor.get("/_stcore/metrics").status_code == 200 else ""

    return attempt


_NOW = int(time.time())
LIES: dict[str, Callable[[Place], str]] = {
    "wrong iss": told(Lies(), iss="https://evil.example"),
    "iss with our issuer as a beginning": told(Lies(), iss="http://127.0.0.1:1.evil.example"),
    "no iss": told(Lies(), iss=None),
    "aud of another client": told(Lies(), aud="another"),
    "aud of another client, azp ours": told(Lies(), aud="another", azp=CLIENT_ID),
    "aud of two, no azp": told(Lies(), aud=[CLIENT_ID, "another"]),
    "aud of two, azp another": told(Lies(), aud=[CLIENT_ID, "another"], azp="another"),
    "azp another": told(Lies(), azp="another"),
    "no aud": told(Lies(), aud=None),
    "expired": told(Lies(), exp=_NOW - 3600),
    "no exp": told(Lies(), exp=None),
    "exp as text": told(Lies(), exp="tomorrow"),
    "issued tomorrow": told(Lies(), iat=_NOW + 86_400, exp=_NOW + 90_000),
    "not before tomorrow": told(Lies(), nbf=_NOW + 86_400),
    "wrong nonce": told(Lies(), nonce="another"),
    "no nonce": told(Lies(), nonce=None),
    "no sub": told(Lies(), sub=None),
    "empty sub": told(Lies(), sub=""),
    "sub a number": told(Lies(), sub=7),
    "sub a list": told(Lies(), sub=["anna"]),
    "sub with a null character": told(Lies(), sub="anna\0"),
    "sub too long": told(Lies(), sub="a" * 5000),
    "alg none": told(Lies(algorithm="none")),
    "alg none, on the provider's list": told(
        Lies(algorithm="none", metadata={"id_token_signing_alg_values_supported": ["RS256", "none"]})
    ),
    "HS256 by the public key": told(Lies(algorithm="HS256")),
    "HS256 by the public key, on the provider's list": told(
        Lies(algorithm="HS256", metadata={"id_token_signing_alg_values_supported": ["RS256", "HS256"]})
    ),
    "a stranger's key": told(Lies(key="stranger")),
    "changed after signing": told(Lies(tampered=True)),
    "no identity token": told(Lies(no_id_token=True)),
    "another state": told(Lies(state="another")),
    "email not verified": told(Lies(), email_verified=False),
    "email verified as text": told(Lies(), email_verified="true"),
    "email verified as a number": told(Lies(), email_verified=1),
    "email, and nothing about it": told(Lies(), email_verified=None),
    "no email": told(Lies(), email=None),
    "email a list": told(Lies(), email=["anna@example.org"]),
    "email of a stranger": told(Lies(), email="eve@example.org"),
    "email with ours inside": told(Lies(), email="anna@example.org@evil.example"),
    "email of a longer domain": told(Lies(), email="eve@friends.example.evil.example"),
    "email of a domain below": told(Lies(), email="eve@sub.friends.example"),
    "email of a look-alike": told(Lies(), email="аnna@example.org"),
    "email with a line break": told(Lies(), email="anna@example.org\n"),
    "subject of Bert at another issuer": told(Lies(), iss="https://evil.example", sub="bert", email=None),
}


def old_key(at: Place) -> str:
    """A key that was rotated away signs no more, and the new one does."""
    at.signed_in()
    at.provider.rotate()
    at.provider.lies = Lies(key="retired")
    refused = at.visitor()
    refused.sign_in()
    at.provider.lies = Lies()
    return "the retired key was believed" if refused.is_in() else "" if at.signed_in() else "unreachable"


def code_twice(at: Place) -> str:
    """The same answer of the provider, brought twice by one browser."""
    visitor = at.visitor()
    back = visitor.back_from(visitor.to_provider())
    visitor.get(back)
    del visitor.cookies["facecluster_session"]
    visitor.get(back)
    return "the second was taken" if visitor.is_in() else ""


def code_and_state_twice(at: Place) -> str:
    """The same answer with the cookies of before, at a provider that takes a code again, with the nonce of before."""
    at.provider.lies = Lies(reusable_codes=True)
    visitor = at.visitor()
    back = visitor.back_from(visitor.to_provider())
    before = dict(visitor.cookies)
    visitor.get(back)
    first = visitor.is_in()
    visitor.cookies = before
    visitor.get(back)
    return "" if first and not visitor.is_in() else f"first {first}, second {visitor.is_in()}"


def code_of_another(at: Place) -> str:
    """An answer that a stranger got, followed in another browser: it would be signed in as the stranger."""
    stranger, victim = at.visitor(), at.visitor()
    back = stranger.back_from(stranger.to_provider())
    victim.to_provider()
    victim.get(back)
    return "was taken" if victim.is_in() else ""


def code_of_another_leaves_me_in(at: Place) -> str:
    """A stranger's answer must not sign out who is in, either."""
    stranger, victim = at.visitor(), at.signed_in()
    victim.get(stranger.back_from(stranger.to_provider()))
    return "" if is_inside(victim) else "was signed out"


def callbacks(at: Place) -> str:
    """Answers that no provider gave."""
    for query in ("", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied", "?error=%0d%0aSet-Cookie:a=b"):
        visitor = at.visitor()
        visitor.to_provider()
        answer = visitor.get(f"/oauth2callback{query}")
        if visitor.is_in() or "a" in visitor.cookies or answer.status_code != 302:
            return f"{query}: {answer.status_code}"
    return ""


def made_up_cookies(at: Place) -> str:
    """Cookies that the server did not make, or not together."""
    real = at.signed_in()
    at.provider.claims = {"sub": "bert"}
    other = at.visitor()
    other.sign_in()
    user = f'{{"iss": "{at.provider.issuer}", "sub": "anna", "is_logged_in": true, "origin": "{at.served.url}"}}'
    by_another = create_signed_value("another secret of thirty-two bytes", "_streamlit_user", user).decode()
    tries = {
        "session alone": {"facecluster_session": real.cookies["facecluster_session"]},
        "sign-in alone": {"_streamlit_user": real.cookies["_streamlit_user"]},
        "Anna's sign-in with Bert's session": {
            **real.cookies,
            "facecluster_session": other.cookies["facecluster_session"],
        },
        "signed by another": {**other.cookies, "_streamlit_user": by_another},
        "of another name": {**other.cookies, "_streamlit_user": real.cookies["_streamlit_session"]}
        if "_streamlit_session" in real.cookies
        else {},
        "no session": {**real.cookies, "facecluster_session": "x" * 43},
        "an empty one": {**real.cookies, "facecluster_session": ""},
    }
    for name, cookies in tries.items():
        visitor = at.visitor()
        visitor.cookies = cookies
        if LIBRARY in page_of(visitor):
            return name
    return ""


def the_secret_alone(at: Place) -> str:
    """Whoever knows the cookie secret still has no session."""
    user = f'{{"iss": "{at.provider.issuer}", "sub": "anna", "is_logged_in": true, "origin": "{at.served.url}"}}'
    visitor = at.visitor()
    visitor.cookies["_streamlit_user"] = create_signed_value(COOKIE_SECRET, "_streamlit_user", user).decode()
    return "was let in" if is_inside(visitor) else ""


def headers_that_name_her(at: Place) -> str:
    """Headers by which a proxy would say who somebody is."""
    said = {"X_Forwarded_User": "anna", "X_Forwarded_Email": "anna@example.org", "Remote_User": "anna"}
    answer = at.visitor().get("/_stcore/metrics", X_Streamlit_User="anna@example.org", **said)
    return "" if answer.status_code == 403 else f"{answer.status_code}"


def big_claims(at: Place) -> str:
    """1, 4, 8 and 16 kB of groups: signed in all the same, with cookies that any server takes."""
    for kilobytes in (1, 4, 8, 16):
        groups = [f"group-{i:012d}" for i in range(kilobytes * 1024 // 20)]
        at.provider.claims = {"sub": "bert", "groups": groups, "name": "Bert"}
        visitor = at.visitor()
        visitor.sign_in()
        size = len(visitor.cookie_header())
        if not visitor.is_in() or size > 6000 or LIBRARY not in page_of(visitor):
            return f"{kilobytes} kB: in {visitor.is_in()}, cookies {size} bytes"
    return ""


def let_in_by_every_line(at: Place) -> str:
    """The list is no wall: address in other case, domain, and issuer|subject are let in."""
    for claims in (
        {"sub": "anna", "email": "ANNA@Example.ORG", "email_verified": True},
        {"sub": "carl", "email": "carl@friends.example", "email_verified": True},
        {"sub": "bert"},
    ):
        at.provider.claims = claims
        visitor = at.visitor()
        visitor.sign_in()
        if not is_inside(visitor):
            return f"{claims} stayed outside"
    return ""


def not_let_in_says_so(at: Place) -> str:
    """Whoever is not on the list hears what to ask for, and sees nothing else."""
    at.provider.claims = {"sub": "eve", "email": "eve@example.org", "email_verified": True}
    visitor = at.visitor()
    visitor.sign_in()
    text = page_of(visitor, "people")
    is_said = "Not let in" in text and at.provider.user("eve") in text
    return "" if is_said and LIBRARY not in text and not visitor.is_in() else text


def unsigned(claims: Mapping[str, object]) -> str:
    """A token that says of itself that nobody signed it."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])


def redirects(at: Place) -> str:
    """No address of ours sends a browser to another site, but for the provider."""
    visitor = at.signed_in()
    asked = [
        "/auth/login?provider=x&next=https://evil.example",
        "/auth/login?redirect_uri=https://evil.example",
        f"/auth/login?provider={unsigned({'provider': 'default', 'exp': 9_999_999_999})}",
        "/oauth2callback?state=x&code=x&next=//evil.example",
        "/auth/logout?next=https://evil.example&post_logout_redirect_uri=https://evil.example",
        "//evil.example/auth/logout",
        "/%2f%2fevil.example",
        "/\\evil.example",
    ]
    for address in asked:
        answer = visitor.get(address, Host=at.served.host, X_Forwarded_Host="evil.example")
        location = answer.headers.get("location", "/")
        if not location.startswith("/") or location.startswith(("//", "/\\")):
            return f"{address} -> {location}"
    return ""


# --- sessions that end ----------------------------------------------------------------------------------------------


def ends_at_once(at: Place, end: Callable[[Visitor], object], expected: str = "Signed out") -> str:
    """A window is open, the session ends: its next write is refused, and so is all it could still read."""
    visitor, service = at.signed_in(), at.service("anna")
    person = next(card for card in service.view().people() if not card.name)
    with visitor.window(f"person?id={person.id}") as window:
        window.run()
        (field,) = [label for label in window.shown.widgets if label.startswith("Name of")]
        end(visitor)
        revision = service.view().snapshot.revision
        shown = window.type(field, "Written afterwards")
        if service.view().snapshot.revision != revision:
            return "the write was taken"
        if LIBRARY in shown.text or person.id.encode() in shown.raw or expected not in shown.text:
            return f"the open window showed {shown.text[:200]!r}"
    if is_inside(visitor):
        return "a new window was let in"
    return ""


def writes_while_it_lives(at: Place) -> str:
    """The same write is taken while the session lives; else the others would prove nothing."""
    visitor, service = at.signed_in(), at.service("anna")
    person = next(card for card in service.view().people() if not card.name)
    with visitor.window(f"person?id={person.id}") as window:
        window.run()
        (field,) = [label for label in window.shown.widgets if label.startswith("Name of")]
        window.type(field, "Written in time")
    names = {card.id: card.name for card in service.view().people()}
    return "" if names[person.id] == "Written in time" else f"it is called {names[person.id]!r}"


def signed_out_elsewhere(at: Place) -> str:
    """The other window presses "Sign out"."""

    def end(visitor: Visitor) -> None:
        with visitor.window("status") as other:
            other.run()
            other.press("Sign out")

    return ends_at_once(at, end)


def signed_out_by_address(at: Place) -> str:
    """Another tab opens the address of signing out; this window keeps the cookies it came with."""

    def end(visitor: Visitor) -> None:
        kept = dict(visitor.cookies)
        visitor.get("/auth/logout")
        visitor.cookies = kept

    return ends_at_once(at, end)


def ended_from_the_command_line(at: Place) -> str:
    """`facecluster sign-out` while the server runs."""
    command = [sys.executable, "-m", "facecluster", "--library", str(at.served.library), "sign-out"]
    end = lambda _: subprocess.run([*command, "Anna@example.org"], cwd=ROOT, check=True, capture_output=True)  # noqa: E731
    return ends_at_once(at, end)


def off_the_list(at: Place) -> str:
    """Somebody is taken off the list; it is read anew every two seconds."""

    def end(_: Visitor) -> None:
        at.allow("@friends.example")
        time.sleep(READ_AGAIN_S + 0.1)

    return ends_at_once(at, end, "Not let in")


def idle(at: Place) -> str:
    """Nothing was done for the time of the settings."""
    return ends_at_once(at, lambda _: at.sql("update sessions set seen = seen - 7201"))


def too_old(at: Place) -> str:
    """Something was done all the time, for longer than a session may last."""
    return ends_at_once(at, lambda _: at.sql("update sessions set began = began - 43201, ends = ends - 43201"))


def forgotten(at: Place) -> str:
    """The file of sessions is removed."""

    def end(_: Visitor) -> None:
        for path in at.served.library.glob("sessions.db*"):
            path.unlink()

    return ends_at_once(at, end)


def signed_in_anew(at: Place) -> str:
    """Signing in again in the same browser ends the session before."""
    visitor = at.signed_in()
    before = dict(visitor.cookies)
    visitor.sign_in()
    old = at.visitor()
    old.cookies = before
    return "the old session lives" if is_inside(old) else "" if is_inside(visitor) else "the new one does not"


def other_site_signs_out(at: Place) -> str:
    """A picture on another site whose address is that of signing out."""
    visitor = at.signed_in()
    kept = dict(visitor.cookies)
    visitor.get("/auth/logout", Sec_Fetch_Site="cross-site")
    visitor.cookies = kept
    return "" if is_inside(visitor) else "was signed out"


# --- sockets --------------------------------------------------------------------------------------------------------


def other_origins(at: Place) -> str:
    """A page of another site opens the socket with the visitor's cookies."""
    visitor = at.signed_in()
    origins = [
        "https://evil.example", f"http://{at.served.host}.evil.example", "null", "http://localhost:1",
        f"http://127.0.0.1:{at.port}", "http://0.0.0.0", "file://", f"http://evil.example#{at.served.url}",
    ]  # fmt: skip
    for origin in origins:
        try:
            with visitor.window(origin=origin):
                return f"{origin} was let in"
        except InvalidStatus as exc:
            if exc.response.status_code != 403:
                return f"{origin}: {exc.response.status_code}"
    return ""


def without_origin_or_token(at: Place) -> str:
    """A socket that brings the cookies, and no origin, or not the token that only our own page can read."""
    visitor = at.signed_in()
    if LIBRARY in page_of(visitor, origin=""):
        return "without an origin"
    if LIBRARY in page_of(visitor, xsrf="2|aaaaaaaa|bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb|1700000000"):
        return "with another token"
    return ""


def another_ones_window(at: Place) -> str:
    """A socket that names the id of Anna's open window, from a browser that is not hers."""
    visitor = at.signed_in()
    with visitor.window("status") as hers:
        id = hers.run().session
        if LIBRARY in page_of(at.visitor(), resumed=id):
            return "without a session"
        at.provider.claims = {"sub": "bert"}
        bert = at.visitor()
        bert.sign_in()
        return "as Bert" if "anna@example.org" in page_of(bert, resumed=id) or not id else ""


def framing_and_cookies(at: Place) -> str:
    """No other site may frame a page; cookies of a session are out of reach of scripts and other sites' requests."""
    visitor = at.visitor()
    answer = visitor.sign_in()
    for line in answer.headers.get_list("set-cookie"):
        if "httponly" not in line.lower() or "samesite=lax" not in line.lower():
            return line
    policy = visitor.get("/").headers["content-security-policy"]
    return "" if "frame-ancestors 'none'" in policy else policy


SESSIONS = [
    old_key, code_twice, code_and_state_twice, code_of_another, code_of_another_leaves_me_in, callbacks,
    made_up_cookies, the_secret_alone, headers_that_name_her, big_claims, let_in_by_every_line, not_let_in_says_so,
    redirects, writes_while_it_lives, signed_out_elsewhere, signed_out_by_address, ended_from_the_command_line,
    off_the_list, idle, too_old, forgotten, signed_in_anew, other_site_signs_out, other_origins,
    without_origin_or_token, another_ones_window, framing_and_cookies,
]  # fmt: skip
R17_CASES: dict[str, Callable[[Place], str]] = {**LIES, **{one.__name__.replace("_", " "): one for one in SESSIONS}}


def hostile_sign_ins(seed: int, seconds: float) -> Found:
    """R17: all cases once, in another order with each seed; those left when the time is over are not counted."""
    names = sorted(R17_CASES)
    random.Random(seed).shuffle(names)
    with place() as at:
        return tried(at, (names[i] for i in cases(seconds, len(names))))


def tried(at: Place, names: Iterable[str]) -> Found:
    """These cases."""
    found = Found()
    for name in names:
        at.reset()
        found.n += 1
        try:
            why = R17_CASES[name](at)
        except Exception as exc:  # noqa: BLE001  a case that breaks proves nothing
            why = f"broke off: {type(exc).__name__}: {exc}"
        if why:
            found.failures.append(f"{name}: {why}")
    at.reset()
    found.failures += [f"the provider broke: {said}" for said in at.provider.broken]
    log = at.served.log.read_text("utf-8", "replace")
    if re.search(r"(?:facecluster_session|id_token)[=\"': ]+[\w.-]{20,}", log):
        found.failures.append("the log holds a secret of a session")
    return found


MEASURES = [
    Measure(
        "R17",
        "nobody is signed in who should not be, and a session that ended writes and reads nothing more",
        "hostile sign-ins and sessions",
        len(R17_CASES),
        0.0,
        hostile_sign_ins,
    ),
]
