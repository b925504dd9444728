"""Configurations that are refused before a server starts; tests/trust/test_open_doors.py starts real ones."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.runtime.secrets import AttrDict

from facecluster.config import load_settings
from facecluster.ui import sign_in, starting
from trust.open_doors import REFUSED

SECRET = "5f0e9c1b7d3a4826b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6"  # noqa: S105
AUTH = {
    "redirect_uri": "https://faces.example/oauth2callback",
    "cookie_secret": SECRET,
    "client_id": "x",
    "client_secret": "y",
    "server_metadata_url": "https://id.example/.well-known/openid-configuration",
}


@pytest.fixture
def check(monkeypatch):
    """Check a configuration: what it says where it refuses, "" where it lets the server start."""

    def run(auth: dict[str, str] | None = None, options: dict[str, object] | None = None, allowed: str = "*") -> str:
        found = AttrDict({k: v for k, v in (auth or {}).items() if v})
        monkeypatch.setenv("FACECLUSTER_ALLOWED", allowed)
        monkeypatch.setattr(starting, "get_secrets_auth_section", lambda: found)
        monkeypatch.setattr(starting, "get_cookie_secret", lambda: found.get("cookie_secret", ""))
        real, given = st.get_option, options or {}
        monkeypatch.setattr(starting.st, "get_option", lambda name: given.get(name, real(name)))
        monkeypatch.setattr(sign_in, "_found_at_start", None)
        try:
            starting.check()
        except SystemExit as exc:
            return str(exc)
        return ""

    return run


def test_without_sign_in_every_option_is_let_through(check):
    assert check({}, {"server.enableCORS": False, "server.enableXsrfProtection": False}) == ""
    assert sign_in.is_on() is False


def test_a_whole_configuration_is_let_through_and_kept(check, monkeypatch):
    assert check(AUTH) == ""
    monkeypatch.setattr(sign_in, "get_secrets_auth_section", dict)
    assert sign_in.is_on() is True  # the file is gone: the door stays closed


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501"])
def test_this_machine_may_be_asked_without_https(check, host):
    assert check({**AUTH, "redirect_uri": f"http://{host}/oauth2callback"}) == ""


@pytest.mark.parametrize("name", [name for name, one in REFUSED.items() if one.changed or not one.options])
def test_a_bad_secrets_file_is_refused_in_one_sentence(check, name, monkeypatch, tmp_path):
    config = REFUSED[name]
    if config.secrets:
        (tmp_path / "secrets.toml").write_text(config.secrets)
        said = check(AUTH, {"secrets.files": [str(tmp_path / "secrets.toml")]})
    else:
        said = check({**AUTH, **dict(config.changed)}, allowed=config.allowed)
    assert said.startswith("facecluster did not start. ")
    assert config.reason in said
    assert "\n" not in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server.enableCORS", False), ("server.enableXsrfProtection", False), ("global.developmentMode", True),
        ("server.trustedUserHeaders", {"X-User": "email"}), ("server.enableAgentApi", True),
        ("server.corsAllowedOrigins", ["https://a.example", "*"]),
    ],
)  # fmt: skip
def test_an_option_that_opens_a_door_is_refused_by_name(check, name, value):
    assert name in check(AUTH, {name: value})


def test_an_index_that_keeps_no_users_apart_is_refused(check, monkeypatch):
    monkeypatch.setenv("PINECONE_API_KEY", "x")
    assert "Pinecone" in check(AUTH)
    monkeypatch.setenv("PINECONE_NAMESPACE", "faces-{user}")
    assert check(AUTH) == ""


def test_what_streamlit_copied_out_of_the_file_does_not_outlive_the_file(check, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".streamlit" / "secrets.toml"
    file.parent.mkdir()
    file.write_text('FACECLUSTER_ALLOWED = "anna@example.org"\n')
    check(AUTH, allowed="anna@example.org")  # as Streamlit leaves the environment
    file.write_text('FACECLUSTER_ALLOWED = "bert@example.org"\n')
    assert load_settings().allowed == ("bert@example.org",)
    monkeypatch.setenv("FACECLUSTER_ALLOWED", "carl@example.org")  # somebody's own word wins, as ever
    assert load_settings().allowed == ("carl@example.org",)
