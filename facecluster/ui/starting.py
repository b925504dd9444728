"""What a server is asked before it starts: a configuration that leaves a door open is refused, with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from streamlit.auth_util import get_redirect_uri, get_secrets_auth_section, is_authlib_installed
from streamlit.web.server.server_util import get_cookie_secret

from facecluster.config import Settings, drop_copies_of_secrets, load_settings
from facecluster.errors import ConfigError
from facecluster.identity import allow_list
from facecluster.ui import sign_in

_LEAST_SECRET = 32  # bytes
_LEAST_VARIED = 12  # different characters: "aaaa..." is long and no secret
# Words of examples, found in tutorials and in secrets that were copied from them.
_EXAMPLES = (
    "secret",
    "example",
    "change",
    "replace",
    "your",
    "random",
    "cookie",
    "xxx",
    "0123456789",
    "password",
    "streamlit",
)
_HERE = ("localhost", "127.0.0.1", "::1")


def check() -> None:
    """Note whether people sign in, and end the program with one sentence where it would not be safe.

    Raises
    ------
    SystemExit
        With the sentence.
    """
    try:
        why = next(_reasons(load_settings()), "")
    except ConfigError as exc:
        # Without sign-in the page says it, as it does for every other setting; with it, nobody must get that far.
        why = str(exc) if get_secrets_auth_section() or _broken_secrets() else ""
    if why:
        raise SystemExit(f"facecluster did not start. {why} See docs/sign-in.md.")
    sign_in.fix(bool(get_secrets_auth_section()))
    drop_copies_of_secrets()


def _reasons(settings: Settings) -> Iterator[str]:
    """Each reason not to start, in one sentence that names the setting and what to do."""
    broken = _broken_secrets()
    if broken:
        yield f"{broken} is not valid TOML, so nobody can tell whether people are to sign in. Mend or remove it."
    auth = get_secrets_auth_section()
    if not auth:
        return
    if not is_authlib_installed():
        yield "Sign-in is set up, and the package Authlib is missing. Install requirements.txt."
    yield from _streamlit_reasons()
    yield from _secret_reasons(auth)
    yield from _address_reasons(get_redirect_uri(auth) or "")
    yield from _provider_reasons(auth)
    yield from _list_reasons(settings)


def _streamlit_reasons() -> Iterator[str]:
    for name in ("server.enableCORS", "server.enableXsrfProtection"):
        if not st.get_option(name):
            yield f"With sign-in, {name} = false would let other sites act for whoever is signed in. Set it to true."
    if st.get_option("global.developmentMode"):
        yield "With sign-in, global.developmentMode = true would let every site connect. Set it to false."
    if st.get_option("server.trustedUserHeaders"):
        yield (
            "With sign-in, server.trustedUserHeaders would let a request say by itself who it is from. Remove it, or "
            "remove [auth]."
        )
    if st.get_option("server.enableAgentApi"):
        yield "With sign-in, server.enableAgentApi would open a second way in. Set it to false."
    if "*" in {one.strip() for one in st.get_option("server.corsAllowedOrigins") or ()}:
        yield "With sign-in, server.corsAllowedOrigins cannot be *. Name the origins."


def _secret_reasons(auth: Mapping[str, object]) -> Iterator[str]:
    how = "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
    secret = auth.get("cookie_secret") and get_cookie_secret()
    if not isinstance(secret, str) or not secret:
        yield f"With sign-in, [auth] needs a cookie_secret. {how}."
    elif len(secret.encode("utf-8", "surrogatepass")) < _LEAST_SECRET:
        yield f"The cookie_secret of [auth] is shorter than {_LEAST_SECRET} bytes and could be guessed. {how}."
    elif len(set(secret)) < _LEAST_VARIED or any(word in secret.lower() for word in _EXAMPLES):
        yield f"The cookie_secret of [auth] reads like an example, and examples are known. {how}."


def _address_reasons(redirect: str) -> Iterator[str]:
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    wanted = f"/{base}/oauth2callback" if base else "/oauth2callback"
    try:
        parts = urlsplit(redirect)
        scheme, host, path = parts.scheme, parts.hostname, parts.path
    except ValueError:
        scheme, host, path = "", None, ""
    if host is None or (scheme != "https" and not (scheme == "http" and host in _HERE)):
        yield (
            f"The redirect_uri of [auth] is {redirect!r}, which is neither https nor localhost, so codes and cookies "
            "would travel in the open. Set it to https://ADDRESS" + wanted + "."
        )
    elif path != wanted:
        yield f"The redirect_uri of [auth] is {redirect!r} and must end with {wanted}, where the answer is taken."


def _provider_reasons(auth: Mapping[str, object]) -> Iterator[str]:
    names = sign_in.providers(auth)
    if not names:
        yield "With sign-in, [auth] needs a provider: client_id, client_secret and server_metadata_url."
    for name in names:
        section = auth if name == "default" else auth[name]
        assert isinstance(section, Mapping)  # noqa: S101  (as `providers` looked)
        for key in ("client_secret", "server_metadata_url"):
            if not section.get(key):
                yield f"The provider {name!r} of [auth] has no {key}."
        address = urlsplit(str(section.get("server_metadata_url", "")))
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in _HERE):
            yield f"The server_metadata_url of the provider {name!r} is neither https nor localhost: it proves nothing."


def _list_reasons(settings: Settings) -> Iterator[str]:
    if not settings.allowed:
        yield (
            "With sign-in, FACECLUSTER_ALLOWED must say who may enter: e-mail addresses, @domain, issuer|subject, or * "
            "for anyone whom the provider signs in."
        )
    allow_list(settings.allowed)  # says itself what is wrong with an entry
    if settings.has_pinecone and "{user}" not in settings.pinecone_namespace and not settings.pinecone_user_field:
        yield (
            "With sign-in, nothing keeps users apart in the Pinecone index. Set PINECONE_NAMESPACE to a name with "
            "{user} in it, or PINECONE_USER_FIELD."
        )


def _broken_secrets() -> str:
    """A file of secrets that is there and cannot be read, "" for none: Streamlit takes it for a missing one."""
    for name in st.get_option("secrets.files") or ():
        path = Path(name)
        if path.is_file():
            try:
                tomllib.loads(path.read_text("utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
                return str(path)
    return ""
