"""R17 and R18: nobody is signed in who should not be, whoever should not be any more stops, no open door is served."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import small_library
from servers import dashboard_client
from servers.dashboard_client import COOKIE_SECRET, Served, Visitor, free_port, secrets_of
from servers.identity_provider import CLIENT_ID, IdentityProvider, Lies
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from websockets.exceptions import InvalidStatus

from facecluster.service import Service
from trust.measure import ROOT, Found, Measure, cases

ALLOWED = "anna@example.org, @friends.example"
LIBRARY = "Your library"  # stands on every page of who is signed in, and on no other


@dataclass
class Place:
    """A dashboard, its provider, and two users with a library each."""

    served: Served
    provider: IdentityProvider
    port: int

    def service(self, subject: str) -> Service:
        """A user's library, past the dashboard."""
        return small_library.open_library(self.served.library, self.provider.user(subject))

    def visitor(self) -> Visitor:
        """A browser without a cookie."""
        return Visitor(self.served)

    def signed_in(self) -> Visitor:
        """A browser in which Anna is signed in."""
        visitor = self.visitor()
        visitor.sign_in()
        assert visitor.is_in(), "an honest sign-in must work"
        return visitor

    def allow(self, allowed: str) -> None:
        """Change the list while the server runs."""
        self.served.secrets.write_text(secrets_of(self.provider.issuer, self.port, allowed), "utf-8")

    def sql(self, statement: str) -> None:
        """Change the file of sessions: time passes quicker so."""
        with sqlite3.connect(self.served.library / "sessions.db") as db:
            db.execute(statement)
        db.close()

    def reset(self) -> None:
        """An honest provider, Anna as the next one who comes, and the list as it was."""
        self.provider.lies = Lies()
        self.provider.claims = {"sub": "anna", "email": "anna@example.org", "email_verified": True, "name": "Anna"}
        self.allow(f"{ALLOWED}, {self.provider.user('bert')}")


@contextmanager
def place(options: tuple[str, ...] = ()) -> Iterator[Place]:
    """A dashboard with sign-in, as long as the block."""
    with tempfile.TemporaryDirectory() as name, IdentityProvider() as provider:
        folder, port = Path(name), free_port()
        for who in ("anna", "bert"):
            service = small_library.open_library(folder / "library", provider.user(who))
            columns = small_library.faces(prefix=who)
            service.import_files([small_library.write_faces(folder / f"{who}.npz", **columns)])
            service.publish(service.plan(small_library.PARAMS), author="setup")
        secrets = secrets_of(provider.issuer, port, f"{ALLOWED}, {provider.user('bert')}")
        with dashboard_client.serving(folder / "library", secrets, options=options, port=port) as served:
            yield Place(served, provider, port)


def is_inside(visitor: Visitor) -> bool:
    """Whether the server opens what only somebody signed in may have, by either way in: a route, or a page."""
    return visitor.get("/_stcore/metrics").status_code == 200 or LIBRARY in page_of(visitor)


def page_of(visitor: Visitor, page: str = "status", **how: str) -> str:
    """The words of a page."""
    with visitor.window(page, **how) as window:
        return window.run().text


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
        "Anna's sign-in with Bert's session": {**real.cookies, "facecluster_session": other.cookies["facecluster_session"]},
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


def redirects(at: Place) -> str:
    """No address of ours sends a browser to another site, but for the provider."""
    visitor = at.signed_in()
    asked = [
        "/auth/login?provider=x&next=https://evil.example",
        "/auth/login?redirect_uri=https://evil.example",
        "/auth/login?provider=eyJhbGciOiJub25lIn0.eyJwcm92aWRlciI6ImRlZmF1bHQiLCJleHAiOjk5OTk5OTk5OTl9.",
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
    """Somebody is taken off the list."""
    return ends_at_once(at, lambda _: at.allow("@friends.example"), "Not let in")


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
    found = Found()
    names = sorted(R17_CASES)
    random.Random(seed).shuffle(names)
    with place() as at:
        for i in cases(seconds, len(names)):
            at.reset()
            found.n += 1
            try:
                why = R17_CASES[names[i]](at)
            except Exception as exc:  # noqa: BLE001  a case that breaks proves nothing
                why = f"broke off: {type(exc).__name__}: {exc}"
            if why:
                found.failures.append(f"{names[i]}: {why}")
        found.failures += [f"the provider broke: {said}" for said in at.provider.broken]
        log = at.served.log.read_text("utf-8", "replace")
    secret = re.search(r"(?:facecluster_session|id_token)[=\"': ]+[\w.-]{20,}", log)
    if secret:
        found.failures.append(f"the log holds {secret[0][:40]}…")
    return found


# --- R18: configurations that leave a door open ---------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """A configuration that must be refused at the start, and the word by which the reason is known."""

    reason: str
    options: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    allowed: str = "anna@example.org"
    secrets: str = ""


REFUSED = {
    "CORS off": Config("server.enableCORS", ("--server.enableCORS", "false")),
    "XSRF off": Config("server.enableXsrfProtection", ("--server.enableXsrfProtection", "false")),
    "both off": Config(
        "server.enableCORS", ("--server.enableCORS", "false", "--server.enableXsrfProtection", "false")
    ),
    "headers say who it is": Config("trustedUserHeaders", ("--server.trustedUserHeaders", '{"X-User": "email"}')),
    "agents may enter": Config("enableAgentApi", ("--server.enableAgentApi", "true")),
    "every origin": Config("corsAllowedOrigins", ("--server.corsAllowedOrigins", "*")),
    "no cookie secret": Config("cookie_secret", changed=(("cookie_secret", ""),)),
    "short cookie secret": Config("shorter than 32", changed=(("cookie_secret", COOKIE_SECRET[:31]),)),
    "example of a secret": Config("example", changed=(("cookie_secret", "your-very-long-random-cookie-secret-here"),)),
    "one letter, many times": Config("example", changed=(("cookie_secret", "a" * 64),)),
    "redirect in the open": Config("https", changed=(("redirect_uri", "http://faces.example/oauth2callback"),)),
    "redirect to a look-alike": Config(
        "https", changed=(("redirect_uri", "http://localhost.evil.example/oauth2callback"),)
    ),
    "redirect elsewhere": Config("oauth2callback", changed=(("redirect_uri", "https://faces.example/"),)),
    "no redirect": Config("redirect_uri", changed=(("redirect_uri", ""),)),
    "no provider": Config("provider", changed=(("client_id", ""),)),
    "no client secret": Config("client_secret", changed=(("client_secret", ""),)),
    "provider in the open": Config(
        "server_metadata_url", changed=(("server_metadata_url", "http://id.example/.well-known/openid-configuration"),)
    ),
    "nobody on the list": Config("FACECLUSTER_ALLOWED", allowed=""),
    "a list that says nothing": Config("FACECLUSTER_ALLOWED", allowed="anna"),
    "secrets that cannot be read": Config("not valid TOML", secrets="[auth\ncookie_secret = "),
}


def refused_starts(seed: int, seconds: float) -> Found:
    """R18: the server is started with each bad configuration, and must end with one sentence."""
    found = Found()
    names = sorted(REFUSED)
    random.Random(seed).shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        for i in cases(seconds, len(names)):
            found.n += 1
            why = _starts(REFUSED[names[i]], Path(folder) / str(i) / "library")
            if why:
                found.failures.append(f"{names[i]}: {why}")
    return found


def _starts(config: Config, library: Path) -> str:
    port = free_port()
    secrets = config.secrets or secrets_of("http://127.0.0.1:9", port, config.allowed, **dict(config.changed))
    process = dashboard_client.start(library, port, secrets, options=config.options)
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "it was started"
    said = Served("", library, process).log.read_text("utf-8")
    lines = [line for line in said.splitlines() if line.startswith("facecluster did not start.")]
    if code == 0 or len(lines) != 1 or config.reason not in lines[0] or "Traceback" in said:
        return f"exit {code}: {said[-300:]!r}"
    return f"the secret is in the log: {said!r}" if COOKIE_SECRET[:20] in said else ""


def other_hosts(seed: int, seconds: float) -> Found:
    """R18: without sign-in, the server answers this machine only, by HTTP and by socket."""
    del seed, seconds
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        with dashboard_client.serving(library) as served:
            for name, why in _tried_hosts(served):
                found.n += 1
                found.failures += [f"{name}: {why}"] if why else []
        opened = {"FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN": "true"}
        with dashboard_client.serving(library, settings=opened) as served:
            found.n += 1
            if Visitor(served).get("/", Host="faces.example").status_code != 200:
                found.failures.append("switched on knowingly, and it still refuses")
    return found


def _tried_hosts(served: Served) -> Iterator[tuple[str, str]]:
    visitor = Visitor(served)
    port = served.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "faces.localhost"):
        status = visitor.get("/", Host=host).status_code
        yield host, "" if status == 200 else f"refused here with {status}"
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0",
                 "192.168.0.7", "localhost@evil.example", "169.254.169.254", "[fe80::1]"):  # fmt: skip
        for path in ("/", "/people", "/crops/x/y.jpg", "/media/x.png", "/_stcore/metrics", "/_stcore/health"):
            answer = visitor.get(path, Host=host)
            is_refused = answer.status_code in (400, 403) and "faces" not in answer.headers.get("set-cookie", "")
            yield f"{host} {path}", "" if is_refused else f"answered {answer.status_code}"
    for told in ("203.0.113.9", "203.0.113.9, 127.0.0.1"):  # a proxy beside the server hands on who asked
        answer = visitor.get("/", X_Forwarded_For=told)
        yield f"forwarded for {told}", "" if answer.status_code == 403 else f"answered {answer.status_code}"
    for origin in ("https://evil.example", "http://localhost:1", "null", f"http://127.0.0.1:{port}"):
        try:
            with visitor.window(origin=origin):
                yield f"socket from {origin}", "was opened"
        except InvalidStatus as exc:
            yield f"socket from {origin}", "" if exc.response.status_code == 403 else str(exc)


MEASURES = [
    Measure(
        "R17",
        "nobody is signed in who should not be, and a session that ended writes and reads nothing more",
        "hostile sign-ins and sessions",
        len(R17_CASES),
        0.0,
        hostile_sign_ins,
    ),
    Measure(
        "R18a",
        "a configuration that leaves a door open is refused at the start, in one sentence",
        "configurations",
        len(REFUSED),
        0.0,
        refused_starts,
    ),
    Measure(
        "R18b",
        "without sign-in, only this machine is answered, and no page of another origin",
        "requests",
        70,
        0.0,
        other_hosts,
    ),
]
