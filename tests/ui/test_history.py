"""History: changes and runs, and the way back."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from facecluster.ui import log_files


def test_changes_are_listed_newest_first_with_who_made_them(app, demo_library, texts):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    said = texts(app("history"))
    assert said.index("Named somebody “Anna”") < said.index("Published ")
    assert "just now · demo" in said


def test_one_change_is_undone_and_then_counts_as_taken_back(app, demo_library, texts):
    first, second = demo_library.view().people()[:2]
    revision = demo_library.rename(first.id, "Anna")
    demo_library.rename(second.id, "Ben")
    test = app("history")
    test.button(key=f"undo-{revision}").click().run()
    assert demo_library.view().card_of[first.id].name == ""
    assert demo_library.view().card_of[second.id].name == "Ben"
    assert "taken back" in texts(test)
    assert f"undo-{revision}" not in [b.key for b in test.button]


def test_an_undone_undo_is_open_to_undo_again(app, demo_library):
    person = demo_library.view().people()[0].id
    revision = demo_library.rename(person, "Anna")
    demo_library.undo(demo_library.undo(revision))
    assert demo_library.view().card_of[person].name == "Anna"
    assert f"undo-{revision}" in [b.key for b in app("history").button]


def test_what_cannot_be_undone_says_why_in_a_sentence(app, demo_library, texts):
    person = demo_library.view().people()[0].id
    revision = demo_library.rename(person, "Anna")
    demo_library.rename(person, "Bea")
    test = app("history")
    test.button(key=f"undo-{revision}").click().run()
    assert "cannot be taken back" in texts(test)
    assert demo_library.view().card_of[person].name == "Bea"


def test_an_earlier_run_is_shown_again(app, demo_library, texts):
    first = demo_library.view().snapshot.run.id
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, min_cluster_size=12)))
    assert demo_library.view().snapshot.run.id != first
    test = app("history")
    assert "at least 12 faces a person" in texts(test)
    test.button(key=f"restore-{first}").click().run()
    assert demo_library.view().snapshot.run.id == first


def test_older_changes_are_shown_on_demand(app, demo_library, texts):
    person = demo_library.view().people()[0].id
    for n in range(55):
        demo_library.rename(person, f"Name {n:02}")
    test = app("history")
    assert "“Name 00”" not in texts(test)
    assert test.button(key="older").label == "Show 6 older of 6"
    test.button(key="older").click().run()
    assert "“Name 00”" in texts(test)


def test_an_empty_library_leads_on(app, empty_library, texts):
    assert "Nothing has happened yet" in texts(app("history"))


def test_a_name_in_a_title_is_text(app, demo_library, texts):
    demo_library.rename(demo_library.view().people()[0].id, "**A** <b>")
    assert "“**A** <b>”" in texts(app("history"))


def named(test, run):
    return next(f for f in test.text_input if str(f.key).startswith(f"name-run-{run}-"))


def test_a_run_is_named_in_place_and_the_name_is_taken_back(app, demo_library, texts):
    run = demo_library.view().snapshot.run.id
    test = app("history")
    assert "Kept are the last 5, the live one, and each that has a name." in texts(test)
    assert named(test, run).value == ""
    named(test, run).set_value("Before the <b>holiday</b>").run()
    assert not test.exception
    assert demo_library.view().snapshot.facts[("run_name", run, "")] == "Before the <b>holiday</b>"
    assert named(test, run).value == "Before the <b>holiday</b>"
    test.button(key="fc-news-undo").click().run()
    assert ("run_name", run, "") not in demo_library.view().snapshot.facts
    assert named(test, run).value == ""


def test_an_empty_name_takes_the_name_of_a_run_away(app, demo_library):
    run = demo_library.view().snapshot.run.id
    demo_library.name_run(run, "Summer")
    test = app("history")
    named(test, run).set_value("").run()
    assert ("run_name", run, "") not in demo_library.view().snapshot.facts


def test_a_name_too_long_for_a_run_is_a_sentence(app, demo_library, texts):
    run = demo_library.view().snapshot.run.id
    test = app("history")
    named(test, run).set_value("x" * 300).run()
    assert not test.exception
    assert "300" in texts(test)
    assert ("run_name", run, "") not in demo_library.view().snapshot.facts
    assert named(test, run).value == "x" * 300, "what was typed stays, to be mended"


@pytest.fixture
def two_runs(demo_library):
    """The first run and a second one, live, with other people."""
    first = demo_library.view().snapshot.run.id
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, min_cluster_size=12)))
    return first, demo_library.view().snapshot.run.id


def test_a_run_is_compared_with_the_live_one_by_person(app, demo_library, two_runs, texts):
    first, live = two_runs
    test = app("history")
    test.button(key=f"compare-{first}").click().run()
    assert not test.exception
    plan = demo_library.compared(first, live)
    n_faces = int((plan.before != plan.after).sum())
    assert n_faces
    n_owned = int(((plan.before >= 0) | (plan.after >= 0)).sum())
    said = texts(test)
    assert f"{1 - n_faces / n_owned:.1%} of the faces are with the same person in both" in said
    assert f"by {n_faces:,} faces." in said
    sides = said.split("A person needs at least")[1].split("Neighbours")[0].split()
    assert sides == ["3", "faces", "12", "faces"]
    assert demo_library.view().snapshot.run.id == live, "looking wrote something"
    test.button(key="compare-close").click().run()
    assert f"compare-{first}" in [b.key for b in test.button]


def test_any_two_runs_are_compared_and_the_same_one_twice_is_said_to_be_one(app, demo_library, two_runs, texts):
    first, live = two_runs
    test = app("history")
    test.button(key=f"compare-{first}").click().run()
    before = next(b for b in test.selectbox if b.label == "B")
    before.set_value(first).run()
    assert "the same run" in texts(test)
    next(b for b in test.selectbox if b.label == "A").set_value(live).run()
    assert not test.exception
    sides = texts(test).split("A person needs at least")[1].split("Neighbours")[0].split()
    assert sides == ["12", "faces", "3", "faces"]


def test_a_line_of_a_comparison_opens_all_its_faces(app, demo_library, two_runs, texts):
    test = app("history")
    test.button(key=f"compare-{two_runs[0]}").click().run()
    next(b for b in test.button if b.key.startswith("compare-lines-open-")).click().run()
    assert not test.exception
    assert "Leave to nobody" in texts(test)
    assert [b for b in test.button if b.key.startswith("fc-open-")]
    test.button(key="compare-back").click().run()
    assert [b for b in test.button if b.key.startswith("compare-lines-open-")]


# --- the log as a file ---------------------------------------------------------------------------------------------


def test_the_log_is_saved_whole_as_csv_and_json(demo_library):
    person = demo_library.view().people()[0].id
    for name in ("=cmd()", "Anna"):
        demo_library.rename(person, name)
    n = demo_library.view().snapshot.revision
    records = json.loads(log_files.maker("JSON", n)())
    assert [one["revision"] for one in records] == list(range(n, 0, -1))
    assert records[0]["decisions"][0]["value"] == "Anna"
    table = list(csv.DictReader(io.StringIO(log_files.maker("CSV", n)())))
    assert {int(row["revision"]) for row in table} == set(range(1, n + 1))
    newest = table[0]
    assert (newest["kind"], newest["subject"], newest["before"], newest["value"]) == ("name", person, "'=cmd()", "Anna")
    assert not [cell for row in table for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_history_offers_the_log_to_save(app, demo_library):
    kept = [b.proto.label for b in app("history").get("download_button")]
    n = demo_library.view().snapshot.revision
    assert kept == [f"Save all {n} change{'s' if n > 1 else ''} as {kind}" for kind in ("CSV", "JSON")]
