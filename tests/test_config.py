"""Settings: sources, rules, secrets."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from facecluster.config import load_settings
from facecluster.errors import ConfigError

KEY = "pcsk-very-secret-value"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in an empty folder: the secrets file is looked for where the program runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_secrets(folder: Path, text: str) -> None:
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(text, "utf-8")


def test_defaults_are_those_of_the_module_that_is_replaced():
    s = load_settings()
    assert (s.min_cluster_size, s.min_samples, s.epsilon, s.blur_threshold) == (3, 3, 0.35, 50)
    assert (s.pinecone_index, s.user, s.method) == ("faces-arcface", "local", "eom")
    assert not s.is_hosted


def test_the_environment_wins_over_the_secrets_file_and_that_over_defaults(folder, monkeypatch):
    write_secrets(folder, "CLUSTER_EPSILON = 0.5\nCLUSTER_MIN_SAMPLES = 2\n")
    monkeypatch.setenv("CLUSTER_EPSILON", "0.7")
    s = load_settings()
    assert (s.epsilon, s.min_samples, s.min_cluster_size) == (0.7, 2, 3)


def test_arguments_win_over_the_environment_and_none_is_no_argument(monkeypatch):
    monkeypatch.setenv("CLUSTER_EPSILON", "0.7")
    monkeypatch.setenv("FACECLUSTER_USER", "anna")
    s = load_settings(epsilon=0.9, user=None)
    assert (s.epsilon, s.user) == (0.9, "anna")


def test_other_tables_of_the_secrets_file_are_left_alone(folder):
    write_secrets(folder, 'FACECLUSTER_USER = "bert"\n[auth]\nclient_secret = "x"\n[connections.db]\nurl = "y"\n')
    assert load_settings().user == "bert"


@pytest.mark.parametrize(
    "value", ["res.cloudinary.com, Photos.Example.org ,", ["res.cloudinary.com", "Photos.Example.org"]]
)
def test_image_hosts_may_be_a_list_or_parted_by_commas(value):
    assert load_settings(image_hosts=value).image_hosts == ("res.cloudinary.com", "photos.example.org")


@pytest.mark.parametrize("host", ["https://a.example", "a.example/x", "*.example", "a.example:8443", "u@a.example"])
def test_what_is_no_host_name_is_refused(host, monkeypatch):
    monkeypatch.setenv("FACECLUSTER_IMAGE_HOSTS", host)
    with pytest.raises(ConfigError, match=r"FACECLUSTER_IMAGE_HOSTS.*is not a host name"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLUSTER_MIN_CLUSTER_SIZE", "1"),
        ("CLUSTER_MIN_SAMPLES", "0"),
        ("CLUSTER_MIN_SAMPLES", "three"),
        ("CLUSTER_EPSILON", "2.1"),
        ("CLUSTER_EPSILON", "nan"),
        ("CLUSTERING_BLUR_THRESHOLD", "inf"),
        ("CLUSTERING_BLUR_THRESHOLD", "-1"),
        ("CLUSTER_METHOD", "dbscan"),
        ("FACE_SEARCH_TOP_K", "0"),
        ("FACECLUSTER_USER", ""),
        ("FACECLUSTER_LIBRARY", ""),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_setting(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "Nothing was started" in str(caught.value)


def test_a_tilde_in_the_library_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("FACECLUSTER_LIBRARY", "~/faces")
    assert load_settings().library == Path.home() / "faces"


def test_a_broken_secrets_file_is_one_sentence_and_no_key(folder):
    write_secrets(folder, f'PINECONE_API_KEY = "{KEY}\n')
    with pytest.raises(ConfigError, match="is not valid TOML") as caught:
        load_settings()
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_keys_are_never_printed(monkeypatch):
    monkeypatch.setenv("PINECONE_API_KEY", KEY)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", KEY)
    s = load_settings()
    assert s.pinecone_api_key.get_secret_value() == KEY
    assert s.is_hosted
    assert KEY not in f"{s!r} {s} {s.model_dump()} {s.model_dump_json()}"


def test_a_key_that_is_refused_stands_neither_in_the_error_nor_in_its_traceback(folder):
    write_secrets(folder, "PINECONE_API_KEY = 1234567890\n")
    with pytest.raises(ConfigError, match="PINECONE_API_KEY") as caught:
        load_settings()
    assert "1234567890" not in "".join(traceback.format_exception(caught.value))


def test_settings_cannot_be_changed_once_loaded():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().epsilon = 1.0
