"""Sessions that begin once, end by time and by word, and are known by the hash of their secret alone."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from facecluster import sessions as module
from facecluster.cli import cli
from facecluster.config import load_settings
from facecluster.errors import StoreUnavailableError
from facecluster.identity import Identity
from facecluster.sessions import Lifetimes, Sessions
from facecluster.wiring import open_sessions

ANNA = Identity("https://id.example", "anna", "anna@example.org", "Anna")
BERT = Identity("https://id.example", "bert")


@pytest.fixture
def sessions(tmp_path):
    return Sessions(tmp_path / "library", Lifetimes(absolute_s=3600, idle_s=600))


@pytest.fixture
def later(monkeypatch):
    """Let so many seconds pass."""
    passed = [0.0]
    real = time.time
    monkeypatch.setattr(module.time, "time", lambda: real() + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def test_a_session_is_found_by_its_secret_and_by_nothing_else(sessions):
    token = sessions.begin(ANNA, "n1")
    assert sessions.find(token).who == ANNA
    assert [sessions.find(wrong) for wrong in ("", "x", token[:-1], token + "x", "\ud800")] == [None] * 5


def test_the_file_holds_no_secret_and_is_for_its_owner_alone(sessions, tmp_path):
    token = sessions.begin(ANNA, "a-nonce")
    files = [*(tmp_path / "library").glob("sessions.db*")]
    held = b"".join(path.read_bytes() for path in files)
    assert token.encode() not in held
    assert b"a-nonce" not in held
    assert (tmp_path / "library" / "sessions.db").stat().st_mode & 0o077 == 0


def test_a_sign_in_begins_one_session_however_often_it_is_brought(sessions):
    first = sessions.begin(ANNA, "n1")
    assert sessions.begin(ANNA, "n1") is None
    sessions.end(first, "signed out")
    assert sessions.begin(ANNA, "n1") is None
    assert sessions.find(first) is None


def test_a_session_ends_when_nothing_is_done(sessions, later):
    token = sessions.begin(ANNA, "n1")
    later(590)
    sessions.touch(sessions.find(token), token)
    later(590)
    assert sessions.find(token) is not None
    later(20)
    assert sessions.find(token) is None


def test_a_session_ends_with_its_time_whatever_is_done(sessions, later):
    token = sessions.begin(ANNA, "n1")
    for _ in range(7):
        later(500)
        sessions.touch(sessions.find(token), token)
    later(101)
    assert sessions.find(token) is None


def test_a_shorter_life_in_the_settings_ends_sessions_that_are_open(sessions, later, tmp_path):
    token = sessions.begin(ANNA, "n1")
    later(500)
    assert Sessions(tmp_path / "library", Lifetimes(400, 600)).find(token) is None
    assert sessions.find(token) is not None


def test_an_ended_session_is_not_begun_again_by_being_used(sessions):
    token = sessions.begin(ANNA, "n1")
    found = sessions.find(token)
    sessions.end(token, "signed out")
    sessions.touch(found, token)
    assert sessions.find(token) is None


@pytest.mark.parametrize("called", ["https://id.example|anna", "ANNA@example.org"])
def test_all_sessions_of_a_user_are_ended_and_nobody_elses(sessions, called):
    hers = [sessions.begin(ANNA, f"n{i}") for i in range(3)]
    his = sessions.begin(BERT, "n9")
    assert sessions.end_of(called, "ended") == 3
    assert [sessions.find(token) for token in hers] == [None] * 3
    assert sessions.find(his) is not None


def test_nobody_is_ended_by_the_address_that_nobody_has(sessions):
    sessions.begin(BERT, "n1")
    assert sessions.end_of("", "ended") == 0
    assert sessions.end_of("%", "ended") == 0


def test_ended_ones_are_forgotten_after_their_cookies_are(sessions, later):
    sessions.begin(ANNA, "n1")
    later(33 * 86_400)
    assert sessions.begin(ANNA, "n1") is not None


def test_a_file_that_is_removed_signs_everybody_out_and_takes_new_ones(sessions, tmp_path):
    token = sessions.begin(ANNA, "n1")
    for path in (tmp_path / "library").glob("sessions.db*"):
        path.unlink()
    assert sessions.find(token) is None
    assert sessions.find(sessions.begin(ANNA, "n2")) is not None


def test_a_file_that_cannot_be_read_lets_nobody_in(sessions, tmp_path):
    token = sessions.begin(ANNA, "n1")
    for path in (tmp_path / "library").glob("sessions.db*"):
        path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(StoreUnavailableError, match="Nothing was shown or changed"):
        sessions.find(token)


def test_the_command_line_lists_and_ends_sessions():
    told = CliRunner()
    assert told.invoke(cli, ["sessions"]).output == "Nobody is signed in.\n"
    all_ = open_sessions(load_settings())
    token = all_.begin(ANNA, "n1")
    id = all_.all()[0].id
    listed = told.invoke(cli, ["sessions"]).output
    assert id in listed
    assert "anna@example.org" in listed
    assert token not in listed
    assert '"user": "https://id.example|anna"' in told.invoke(cli, ["sessions", "--json"]).output
    assert "1 session was ended" in told.invoke(cli, ["sign-out", id]).output
    assert all_.find(token) is None
    assert told.invoke(cli, ["sign-out", "anna@example.org"]).exception is not None
