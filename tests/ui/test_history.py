"""History: changes and runs, and the way back."""

from __future__ import annotations

from dataclasses import replace


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


def test_a_run_is_compared_with_the_live_one_by_person(app, demo_library, texts):
    first = demo_library.view().snapshot.run.id
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, min_cluster_size=12)))
    test = app("history")
    test.button(key=f"compare-{first}").click().run()
    plan = demo_library.compared(demo_library.view().snapshot.run.id, first)
    n_faces = int((plan.before != plan.after).sum())
    assert n_faces
    assert f"by {n_faces:,} faces. Names stay as they are." in texts(test)
    assert demo_library.view().snapshot.run.id != first, "looking wrote something"
