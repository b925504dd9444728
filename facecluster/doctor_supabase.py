"""The doctor's checks of a Supabase project: address, keys, migration, policies, clock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import jwt
from postgrest.exceptions import APIError
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions

from facecluster.config import Settings
from facecluster.errors import StoreDataError, StoreError
from facecluster.findings import LIMIT_S, PRINTABLE, Finding, in_a_sentence, skipped, within

VERSION = 1  # of the people store, as `fc_version` in supabase/migrations tells
MIGRATION = "supabase/migrations/20261122000001_people.sql"
MAX_CLOCK_DIFFERENCE_S = 60.0
_SLOW_S = 0.3
_USUAL_CAP = 1000
_ATTEMPT_S = 4.0  # of two requests in one check

_LOCAL = {"localhost", "127.0.0.1", "::1", "kong", "host.docker.internal"}
_AFTER_ANSWER = ("Supabase migration", "Supabase role", "Supabase policies", "Supabase clock", "Supabase row cap")

KeyKind = Literal["secret", "publishable", "other"]


@dataclass(frozen=True)
class _Look:
    """What `fc_doctor` said, and how long it took on an open connection."""

    said: dict[str, Any]
    seconds: float
    clock_ahead_s: float  # of this machine


def supabase_findings(settings: Settings) -> Iterator[Finding]:
    """All checks of the project, in order."""
    address, key = address_finding(settings.supabase_url), key_finding(settings)
    yield address
    yield key
    if "wrong" in (address.state, key.state):
        yield from skipped("Supabase answer", *_AFTER_ANSWER)
        return
    secret, publishable = (
        key.get_secret_value() for key in (settings.supabase_service_key, settings.supabase_publishable_key)
    )
    # A client of its own: that of the store retries, and hands over sentences where the doctor wants codes.
    with httpx.Client(timeout=_ATTEMPT_S) as http:
        options = SyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = create_client(settings.supabase_url, secret or publishable, options)
        yield from _of_project(settings, client, is_secret=bool(secret))


def _of_project(settings: Settings, client: Client, *, is_secret: bool) -> Iterator[Finding]:
    try:
        look = within(LIMIT_S, lambda: _look(client))
    except APIError as exc:
        yield from _refused(exc, is_secret=is_secret)
    except (httpx.HTTPError, httpx.InvalidURL, StoreError) as exc:
        yield Finding(
            "Supabase answer",
            "wrong",
            f"{_shown(settings.supabase_url)} does not answer: {in_a_sentence(exc)} Check SUPABASE_URL and the "
            "network; a free project that slept is woken in Supabase's dashboard.",
        )
        yield from skipped(*_AFTER_ANSWER)
    else:
        yield Finding("Supabase answer", "ok", f"It answers in {look.seconds * 1000:.0f} ms, and takes the key.")
        yield from _of_look(look)
        yield _row_cap(client)


def address_finding(url: str) -> Finding:
    """Whether SUPABASE_URL can be the address of a project. It is never printed whole: it may hold a password."""
    check, example = "Supabase address", "It is https://REF.supabase.co, as Connect in Supabase's dashboard shows it."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # brackets that do not close, or a port that is no number
        return Finding(check, "wrong", f"SUPABASE_URL is no address. {example}")
    if parts.scheme not in ("http", "https") or not host:
        return Finding(check, "wrong", f"SUPABASE_URL does not begin with https:// and a host. {example}")
    if host in ("supabase.com", "app.supabase.com"):
        ref = re.search(r"/project/([a-z0-9]+)", parts.path)
        example = f"The project's own address is https://{ref[1]}.supabase.co." if ref else example
        return Finding(check, "wrong", f"SUPABASE_URL is a page of Supabase's dashboard. {example}")
    if parts.username or parts.password or parts.query or parts.path not in ("", "/"):
        return Finding(check, "wrong", f"SUPABASE_URL holds more than scheme and host. Set it to {_shown(url)}.")
    if parts.scheme == "http" and host not in _LOCAL:
        return Finding(check, "wrong", f"SUPABASE_URL sends keys unencrypted to {host}. Set it to https://{host}.")
    return Finding(check, "ok", _shown(url))


def key_finding(settings: Settings) -> Finding:
    """Whether the keys are of the kinds that their settings are for."""
    service, publishable = (
        settings.supabase_service_key.get_secret_value(),
        settings.supabase_publishable_key.get_secret_value(),
    )
    check = "Supabase key"
    if not PRINTABLE.fullmatch(service + publishable):
        says = "A key holds blanks, a line end or letters that no key has. Copy it again."
        return Finding(check, "wrong", says)
    if publishable and key_kind(publishable) == "secret":
        return Finding(
            check,
            "wrong",
            "SUPABASE_PUBLISHABLE_KEY holds a secret key, which opens every row. Move it to SUPABASE_SERVICE_KEY, and "
            "make a new one if it was ever sent to a browser.",
        )
    if service and key_kind(service) == "publishable":
        return Finding(
            check,
            "wrong",
            "SUPABASE_SERVICE_KEY holds a publishable (anon) key, which may read nothing. Set the secret one "
            "(sb_secret_… or service_role), from Settings, API Keys.",
        )
    if service:
        return Finding(
            check, "ok", "A secret key: this installation may read every user's rows, so keep it on one trusted server."
        )
    if publishable:
        return Finding(check, "ok", "A publishable key: each user brings a token of their own.")
    return Finding(
        check, "wrong", "SUPABASE_URL is set without a key. Set SUPABASE_SERVICE_KEY, or SUPABASE_PUBLISHABLE_KEY."
    )


def key_kind(key: str) -> KeyKind:
    """What a key is, by its prefix or by the role that an old one, a token, names."""
    if key.startswith("sb_secret_"):
        return "secret"
    if key.startswith("sb_publishable_"):
        return "publishable"
    try:
        claims = jwt.decode(key, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return "other"
    kinds: dict[object, KeyKind] = {"service_role": "secret", "anon": "publishable"}
    return kinds.get(claims.get("role"), "other")


def _look(client: Client) -> _Look:
    client.rpc("fc_doctor", {}).execute()  # opens the connection, so that the next one is timed alone
    before, start = datetime.now(UTC), time.perf_counter()
    said = client.rpc("fc_doctor", {}).execute().data
    seconds = time.perf_counter() - start
    if not isinstance(said, dict):  # what supabase-py makes of an answer that was cut short
        raise StoreDataError("Its answer was cut short.")
    there = datetime.fromisoformat(str(said["now"]))
    return _Look(dict(said), seconds, (before - there).total_seconds() + seconds / 2)


def _refused(exc: APIError, *, is_secret: bool) -> Iterator[Finding]:
    code, message = str(exc.code or ""), " ".join(str(exc.message or "").split()).rstrip(".") + "."
    if code == "42501" and not is_secret:
        yield Finding(
            "Supabase answer", "ok", "It takes the publishable key, and tells a stranger nothing, as it should."
        )
        yield Finding("Supabase migration", "ok", "It was run.")
        says = "The dashboard and the commands cannot sign users in yet. Set SUPABASE_SERVICE_KEY for them."
        yield Finding("Supabase role", "wrong", says)
        for check in _AFTER_ANSWER[2:]:
            yield Finding(check, "skipped", "Only the service key or a signed-in user may look.")
        return
    if code == "PGRST202":
        yield Finding("Supabase answer", "ok", "It answers, and takes the key.")
        yield Finding(
            "Supabase migration",
            "wrong",
            f"The project does not know facecluster's functions. Run {MIGRATION} in the dashboard's SQL editor, or "
            "`supabase db push`; if that was a minute ago, try again.",
        )
        yield from skipped(*_AFTER_ANSWER[1:])
        return
    name = "SUPABASE_SERVICE_KEY" if is_secret else "SUPABASE_PUBLISHABLE_KEY"
    if code.startswith("PGRST30") or code in ("401", "403") or "api key" in message.lower():
        says = f"The project refuses the key: {message} Copy {name} anew from Settings, API Keys, of this very project."
    else:
        says = (
            f"The project answers with an error: {code} {message} Try again; if it stays, look at the project's logs."
        )
    yield Finding("Supabase answer", "wrong", says)
    yield from skipped(*_AFTER_ANSWER)


def _of_look(look: _Look) -> Iterator[Finding]:
    said = look.said
    version = int(said["version"])
    if version == VERSION:
        yield Finding("Supabase migration", "ok", f"Version {version}.")
    else:
        newer = "a newer facecluster" if version > VERSION else "the newer files of supabase/migrations"
        says = f"The project has version {version}, and this program needs {VERSION}. Install {newer}."
        yield Finding("Supabase migration", "wrong", says)
    role, subject = said.get("role"), said.get("subject")
    if role == "service_role" or (role == "authenticated" and subject):
        yield Finding("Supabase role", "ok", str(role))
    else:
        says = f"The database knows this key as {role!r}. Set SUPABASE_SERVICE_KEY to a secret (service_role) key."
        yield Finding("Supabase role", "wrong", says)
    unforced = said.get("unforced") or []
    if unforced or not said.get("policies"):
        what = f"not in force on {', '.join(unforced)}" if unforced else "without any policy"
        yield Finding(
            "Supabase policies",
            "wrong",
            f"Row level security is {what}, so users may see each other's rows. Run {MIGRATION} in a new project, or "
            "`alter table … enable row level security; alter table … force row level security;` for each.",
        )
    else:
        yield Finding(
            "Supabase policies", "ok", f"Row level security is forced on every table; {said['policies']} policies."
        )
    yield _clock(look)


def _clock(look: _Look) -> Finding:
    away = look.clock_ahead_s
    if abs(away) > MAX_CLOCK_DIFFERENCE_S:
        which = "ahead of" if away > 0 else "behind"
        says = f"This machine's clock is {abs(away):,.0f} s {which} the database's, so tokens of signed-in users fail."
        return Finding("Supabase clock", "wrong", f"{says} Set it by NTP.")
    slow = (
        f" A page waits {look.seconds:.1f} s for each look; a nearer region would be quicker."
        if look.seconds > _SLOW_S
        else ""
    )
    return Finding("Supabase clock", "note" if slow else "ok", f"{abs(away):.1f} s away from the database's.{slow}")


def _row_cap(client: Client) -> Finding:
    """Ours come whole whatever the cap is; other programs that read the views do not."""
    check = "Supabase row cap"
    try:
        rows = within(
            LIMIT_S,
            lambda: client.table("face_vector_clusters").select("vector_id").limit(_USUAL_CAP + 1).execute().data,
        )
    except (APIError, httpx.HTTPError, StoreError) as exc:
        return Finding(check, "note", f"The view face_vector_clusters could not be read: {in_a_sentence(exc)}")
    if len(rows) == _USUAL_CAP:
        says = f"An answer holds {_USUAL_CAP:,} rows: other programs that read face_vector_clusters must page."
        return Finding(check, "ok", says)
    if len(rows) > _USUAL_CAP:
        return Finding(check, "ok", f"Answers of more than {_USUAL_CAP:,} rows come whole.")
    return Finding(check, "ok", f"Not reached by the {len(rows):,} rows of face_vector_clusters.")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
