"""Calls of the functions in a Supabase project: one user, a deadline, retries, and errors as ours."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from postgrest.exceptions import APIError
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions
from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from facecluster.config import Settings
from facecluster.errors import (
    ConfigError,
    InputError,
    StaleWriteError,
    StoreDataError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
    keep_secret,
)
from facecluster.findings import PRINTABLE
from facecluster.model import RunRecord, UserId
from facecluster.stores.refusals import changed_meanwhile, no_run, run_not_kept, said_meanwhile

MIGRATIONS = "supabase/migrations"
_OUR_CODE = re.compile(r"\b(FC\d{3}) (\{.*\})", re.DOTALL)
_TRIED_AGAIN = {"57014", "40001", "40P01"}  # a statement that took too long, two that stood in each other's way
# What is read from the answer of a function, or from each row of it.
_HAS: dict[str, frozenset[str]] = {
    "fc_head": frozenset({"revision"}),
    "fc_facts": frozenset({"revision", "count", "rows"}),
    "fc_changes": frozenset({"revision", "live_faces", "records"}),
    "fc_history": frozenset({"revision", "at", "author", "title", "decisions", "undoes", "n_erased"}),
    "fc_runs": frozenset(RunRecord.__dataclass_fields__),
    "fc_run": frozenset({"starts", "n_faces", "params", "fingerprint", "reason", "questions"}),
    "fc_run_faces": frozenset("vols"),
    "fc_apply": frozenset({"revision"}),
    "fc_begin_run": frozenset({"status"}),
}
_T = TypeVar("_T")


class _AgainError(Exception):
    """What may go well a moment later; the functions are safe to call twice."""


class Functions:
    """The functions of `supabase/migrations`, called for one user.

    Parameters
    ----------
    client : supabase.Client
        With the service key, or with the publishable key and a user's token.
    user : UserId
        Whose rows.
    names_user : bool
        The key may speak for anybody, so each call names the user; a token is always its own subject.
    patience_s : float
        Seconds one call may take, all attempts together.
    """

    def __init__(self, client: Client, user: UserId, *, names_user: bool, patience_s: float) -> None:
        self._client = client
        self._user = user
        self._names_user = names_user
        self._patience_s = patience_s

    def call(self, function: str, answer: type[_T], **arguments: Any) -> _T:
        """Call one function, again where the way there failed.

        Raises
        ------
        StoreError
            Translated; `StaleWriteError` for what somebody else changed, `StoreUnavailableError` after all patience.
        """
        said = {f"p_{name}" if name != "p" else name: value for name, value in arguments.items()}
        if self._names_user:
            said["p_user"] = self._user
        # An attempt may take half of the patience, and none begins after that half.
        attempts = Retrying(
            retry=retry_if_exception_type(_AgainError),
            stop=stop_before_delay(self._patience_s / 2),
            wait=wait_random_exponential(multiplier=0.1, max=4),
            reraise=True,
        )
        try:
            found: _T = attempts(self._once, function, answer, said)
        except _AgainError as exc:
            outcome = "Nothing was changed. Try again."
            if function == "fc_apply":
                outcome = "Whether this was written shows when it answers again: all of it or nothing. Reload."
            raise StoreUnavailableError(
                f"Supabase did not answer within {self._patience_s:.0f} seconds: {exc}. {outcome}"
            ) from exc
        return found

    def _once(self, function: str, answer: type[_T], arguments: dict[str, Any]) -> _T:
        try:
            found = self._client.rpc(function, arguments).execute().data
        except httpx.TransportError as exc:
            raise _AgainError(f"{type(exc).__name__} {exc}".strip(" .")) from exc
        except APIError as exc:
            raise _translated(exc, function) from exc
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as exc:  # whatever stands before it
            raise _AgainError(f"{function} was answered with what cannot be read ({type(exc).__name__})") from exc
        # supabase-py hands over a reply that was cut short as plain text
        if not isinstance(found, answer) or not _is_whole(function, found):
            raise _AgainError(f"{function} was answered with {str(found)[:60]!r}")
        return found


def _is_whole(function: str, found: object) -> bool:
    """Whether an answer has what is read from it: something else may have answered in the project's name."""
    needed = _HAS.get(function, frozenset())
    rows: list[object] = found if isinstance(found, list) else [found]
    return not needed or all(
        isinstance(row, dict) and needed <= row.keys() and isinstance(row.get("revision", 0), int) for row in rows
    )


def connect(settings: Settings, token: str, patience_s: float) -> Client:
    """Client of the project in the settings: with a user's token, else with the service key.

    Raises
    ------
    ConfigError
        If the key that this needs is missing, or the address is none.
    """
    secret = settings.supabase_publishable_key if token else settings.supabase_service_key
    name = "SUPABASE_PUBLISHABLE_KEY" if token else "SUPABASE_SERVICE_KEY"
    key = secret.get_secret_value()
    keep_secret(token)
    if not key:
        raise ConfigError(f"SUPABASE_URL is set and {name} is not. Nothing was opened. Set it; see docs/backends.md.")
    if not PRINTABLE.fullmatch(key + token):  # what such a key is sent in would be printed by the error about it
        name = "The token" if token and PRINTABLE.fullmatch(key) else name
        raise ConfigError(
            f"{name} holds blanks, a line end or letters that no key has. Nothing was opened. Copy it again."
        )
    if not re.match(r"https?://[^/\s]+", settings.supabase_url):
        raise ConfigError(
            f"SUPABASE_URL is {settings.supabase_url!r}, and not an address such as https://abc.supabase.co. "
            "Nothing was opened. Copy it from the project's API settings."
        )
    http = httpx.Client(timeout=patience_s / 2, follow_redirects=False, event_hooks={"response": [_look_at]})
    options = SyncClientOptions(
        auto_refresh_token=False, persist_session=False, postgrest_client_retry=False, httpx_client=http
    )
    client = create_client(settings.supabase_url, key, options)
    client.postgrest.auth(token or key)
    weakref.finalize(client, http.close)  # supabase-py never closes it
    return client


def _look_at(response: httpx.Response) -> None:
    """Catch what stands before the database and has no words of its own: supabase-py forgets the status."""
    status = response.status_code
    if status < 400:
        return
    has_code = re.search(rb'"code" *: *"', response.read()) is not None
    if status in (408, 425, 429) or status > 500 or (status == 500 and not has_code):
        raise _AgainError(f"{status} {response.reason_phrase}".strip())
    if status in (401, 403) and not has_code:
        raise StoreDeniedError(
            f"Supabase refuses the key ({status} {response.reason_phrase}). Nothing was changed. Check the key, or "
            "sign in again."
        )


def _translated(exc: APIError, function: str) -> StoreError | InputError | ConfigError | _AgainError:
    code, message = str(exc.code or ""), str(exc.message or "")
    ours = _OUR_CODE.search(message)
    if ours:
        return _OURS[ours[1]](json.loads(ours[2]))
    if code in _TRIED_AGAIN:
        return _AgainError(f"{code} {message}")
    if code in ("PGRST202", "42883", "404"):
        return ConfigError(
            f"The Supabase project has no function {function}: the migrations were not applied, or an older version of "
            f"them. Nothing was changed. Apply the files in {MIGRATIONS} (docs/backends.md says how), then reload."
        )
    if code in ("401", "403", "42501") or code.startswith("PGRST3"):
        return StoreDeniedError(
            f"Supabase refuses {function} ({code}: {message}). Nothing was changed. Check the key, or sign in again."
        )
    return StoreDataError(
        f"Supabase cannot do {function} ({code}: {message}). Nothing was changed. Run `facecluster doctor`."
    )


def _stale(said: dict[str, Any]) -> StaleWriteError:
    if "kind" in said:
        return said_meanwhile(said["kind"], said["subject"], said["found"], said["before"], said["value"])
    return changed_meanwhile(said["title"], said["author"], said["revision"], said["base"])


def _denied(said: dict[str, Any]) -> StoreDeniedError:
    return StoreDeniedError(f"Supabase refuses: {said['why']}. Nothing was changed. Check the key, or sign in again.")


def _not_whole(said: dict[str, Any]) -> StoreDataError:
    return StoreDataError(
        f"Of the run {said['run']!r} {said['faces']:,} of {said['of_faces']:,} faces arrived, {said['people']:,} of "
        f"{said['of_people']:,} people. It was not published, and the one before is still shown. Publish it again."
    )


_OURS: dict[str, Callable[[dict[str, Any]], StoreError | InputError]] = {
    "FC403": _denied,
    "FC404": lambda said: no_run(said["run"]),
    "FC405": _denied,
    "FC409": _stale,
    "FC410": lambda said: run_not_kept(said["run"]),
    "FC422": _not_whole,
}
