"""Publishing and every other write on a real Postgres: whole, once, in order, in time."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest
from people_sql import (
    ANNA,
    StagedRun,
    apply,
    ask,
    become,
    call,
    change,
    contents,
    facts,
    head,
    know,
    live_library,
    said,
    session,
    stage,
)
from servers.postgres_server import Database


def refused(code: str, do: Callable[[], object]) -> str:
    """The message of the refusal, which must have this code and begin with it."""
    with pytest.raises(psycopg.Error) as caught:
        do()
    assert caught.value.sqlstate == code
    message = caught.value.diag.message_primary or ""
    assert message.startswith(code)
    return message


# --- what a write is ------------------------------------------------------------------------------------------------


def test_a_run_is_live_once_it_is_published_and_not_before(database):
    run = StagedRun("r1", 20, 3)
    stage(database, ANNA, run)
    assert head(database, ANNA) == (0, None)
    assert ask(database, ANNA, "fc_runs") == []
    assert ask(database, ANNA, "fc_apply", p=run.publishing(0)) == {"revision": 1}
    assert head(database, ANNA) == (1, "r1")
    assert ask(database, ANNA, "fc_run_faces", p_run="r1")["v"] == run.faces


@pytest.mark.parametrize(
    "wrong", [{"n_faces": 21}, {"n_faces": 19}, {"n_people": 2}, {"n_people": 4}, {"n_noise": 0}, {"n_noise": 3}]
)
def test_a_run_that_is_not_whole_is_refused_and_nothing_is_written(database, wrong):
    run = StagedRun("r1", 20, 3)
    run.head |= wrong
    stage(database, ANNA, run)
    before = contents(database)
    refused("FC422", lambda: ask(database, ANNA, "fc_apply", p=run.publishing(0)))
    assert contents(database) == before


def test_a_stale_change_is_refused_and_nothing_is_written(database):
    apply(database, ANNA, 0, said("person", "p", "1"), title="First")
    before = contents(database)
    message = refused("FC409", lambda: apply(database, ANNA, 0, said("name", "p", "Bert")))
    assert '"First"' in message
    assert contents(database) == before


def test_a_decision_made_on_another_value_is_refused_with_both_values(database):
    apply(database, ANNA, 0, said("person", "p", "1"), said("name", "p", "Änne"))
    before = contents(database)
    message = refused("FC409", lambda: apply(database, ANNA, 1, said("name", "p", "Bert", "Anna")))
    assert all(word in message for word in ("Änne", "Anna", "Bert"))
    assert contents(database) == before


def test_a_pointer_to_a_run_that_is_not_there_is_refused(database):
    live_library(database, ANNA)
    before = contents(database)
    refused("FC410", lambda: apply(database, ANNA, 2, said("live_run", "", "gone", f"run-of-{ANNA}")))
    assert contents(database) == before


def test_facts_and_revision_of_one_answer_belong_together(database):
    """A change that comes while an answer is put together is in all of it or in none of it."""
    apply(database, ANNA, 0, said("person", "p", "1"), said("name", "p", "Anna"))
    answers: list[dict[str, object]] = []
    reader = threading.Thread(target=lambda: answers.append(ask(database, ANNA, "fc_facts")))
    with database.connect() as db:
        db.execute("lock table fc_log in access exclusive mode")  # whoever reads the revision waits here
        reader.start()
        wait_for(database, "select count(*) from pg_locks where not granted", 1)
        become(db, ANNA, "authenticated")
        assert call(db, "fc_apply", p=change(1, said("name", "p", "Bert", "Anna"))) == {"revision": 2}
    reader.join()
    (answer,) = answers
    name = {1: "Anna", 2: "Bert"}[answer["revision"]]  # type: ignore[index]
    assert ["name", "p", "", name] in answer["rows"]  # type: ignore[operator]


def wait_for(database: Database, query: str, value: object, seconds: float = 10) -> None:
    """Until this is so."""
    end = time.monotonic() + seconds
    with database.connect("supabase_admin", autocommit=True) as db:
        while db.execute(query).fetchone() != (value,):  # type: ignore[arg-type]
            assert time.monotonic() < end, f"{query} did not become {value!r}"
            time.sleep(0.01)


# --- twice is once --------------------------------------------------------------------------------------------------


def test_every_function_called_twice_leaves_what_it_left_once(database):
    run = live_library(database, ANNA)
    second = StagedRun("r2", 30, 3)
    publishing = second.publishing(2, run.id, run.people)
    calls: list[tuple[str, dict[str, object]]] = [
        ("fc_begin_run", {"p_run": second.id, "p": second.head}),
        ("fc_stage", {"p_run": second.id, "p": second.rows(0, 20)}),
        ("fc_stage", {"p_run": second.id, "p": second.rows(20, 30)}),
        ("fc_know_faces", {"p": columns_of(second.faces)}),
        ("fc_begin_run", {"p_run": "unfinished", "p": second.head}),
        ("fc_discard_run", {"p_run": "unfinished"}),
        ("fc_apply", {"p": publishing}),
        ("fc_apply", {"p": change(3, said("name", run.people[1], "Eva"), said("name", run.people[2], "Ida"))}),
        ("fc_apply", {"p": change(4, title="Erased", erased=[run.people[1], run.faces[0]])}),
        ("fc_prune", {}),
        ("fc_prune", {}),
    ]
    for function, arguments in calls:
        first = ask(database, ANNA, function, **arguments)
        once = contents(database)
        again = ask(database, ANNA, function, **arguments)
        assert contents(database) == once, function
        if function not in ("fc_prune", "fc_stage"):
            assert again == first, function
    for function, arguments in reading(run.id):
        before = contents(database)
        assert ask(database, ANNA, function, **arguments) == ask(database, ANNA, function, **arguments)
        assert contents(database) == before


def reading(run: str) -> list[tuple[str, dict[str, object]]]:
    """Calls of the functions that only read."""
    return [
        ("fc_version", {}),
        ("fc_head", {}),
        ("fc_facts", {}),
        ("fc_changes", {"p_since": 0}),
        ("fc_history", {"p_limit": 5}),
        ("fc_runs", {}),
        ("fc_run", {"p_run": run}),
        ("fc_run_faces", {"p_run": run}),
    ]


def columns_of(ids: list[str]) -> dict[str, object]:
    n = len(ids)
    return {"v": ids, "url": ids, "folder": ids, "crop": ids, "blur": [1.5] * n, "m": ["other mark"] * n}


def test_publishing_twice_is_one_publish_even_after_another_change(database):
    run = StagedRun("r1", 20, 3)
    stage(database, ANNA, run)
    publishing = run.publishing(0)
    assert ask(database, ANNA, "fc_apply", p=publishing) == {"revision": 1}
    apply(database, ANNA, 1, said("name", run.people[0], "Eva"))
    assert ask(database, ANNA, "fc_apply", p=publishing) == {"revision": 1}
    assert head(database, ANNA) == (2, "r1")


def test_the_same_call_at_the_same_time_is_one_change(database):
    """A reply that comes late, and the retry that overtakes it."""
    for round_ in range(20):
        body = change(round_, said("mark", f"f{round_}", "ignored"))
        answers = together(*[lambda body=body: ask(database, ANNA, "fc_apply", p=body)] * 4)
        assert answers == [{"revision": round_ + 1}] * 4
    assert head(database, ANNA)[0] == 20


# --- races ----------------------------------------------------------------------------------------------------------


def together(*calls: Callable[[], object]) -> list[object]:
    """All at the same moment; what each answered, or the code of its refusal."""
    answers: list[object] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(i: int) -> None:
        start.wait()
        try:
            answers[i] = calls[i]()
        except psycopg.Error as exc:
            answers[i] = exc.sqlstate

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_of_two_that_publish_at_once_one_wins_and_the_other_is_told(database, tell):
    rounds, live, known, winners = 40, None, [], []
    for round_ in range(rounds):
        runs = [StagedRun(f"run-{round_}-{who}", 50, 5) for who in "ab"]
        for run in runs:
            stage(database, ANNA, run)
        bodies = [run.publishing(round_, live, known) for run in runs]
        answers = together(*(lambda body=body: ask(database, ANNA, "fc_apply", p=body) for body in bodies))
        assert sorted(map(str, answers)) == sorted(["FC409", str({"revision": round_ + 1})])
        won = answers.index({"revision": round_ + 1})
        live, known = runs[won].id, runs[won].people
        winners.append(won)
        assert head(database, ANNA) == (round_ + 1, live)
        assert ask(database, ANNA, "fc_run_faces", p_run=live)["v"] == runs[won].faces
        ask(database, ANNA, "fc_discard_run", p_run=runs[1 - won].id)
    tell(f"racing publishes: {rounds} rounds, the first session won {winners.count(0)}")


def test_a_publish_and_a_name_at_once_leave_both_or_one_of_them_whole(database):
    run = live_library(database, ANNA)
    live, revision, name = run.id, 2, None
    for round_ in range(25):
        second = StagedRun(f"again-{round_}", 40, 3)
        stage(database, ANNA, second)
        publishing = second.publishing(revision, live, run.people)
        naming = change(revision, said("name", run.people[1], f"Name {round_}", name))
        answers = together(
            lambda p=publishing: ask(database, ANNA, "fc_apply", p=p),
            lambda p=naming: ask(database, ANNA, "fc_apply", p=p),
        )
        assert sorted(map(str, answers)) == sorted(["FC409", str({"revision": revision + 1})])
        if answers[0] == "FC409":
            name = f"Name {round_}"
        else:
            live = second.id
        revision += 1
        assert head(database, ANNA) == (revision, live)
        assert facts(database, ANNA).get(("name", run.people[1], "")) == name


def test_two_users_do_not_wait_for_each_other(database):
    with session(database, ANNA) as db:
        call(db, "fc_apply", p=change(0, said("person", "p", "1")))
        started = time.monotonic()
        assert apply(database, "somebody else", 0, said("person", "p", "1")) == 1
        assert time.monotonic() - started < 6  # a lock would be waited for until 8


def test_rows_staged_while_the_run_is_published_do_not_slip_in(database):
    for round_ in range(15):
        run = StagedRun(f"run-{round_}", 30, 3)
        stage(database, ANNA, run)
        more = {"v": ["late"], "o": [None], "l": [-1], "s": [0], "m": ["m"]}
        _, live = head(database, ANNA)
        publishing = run.publishing(head(database, ANNA)[0], live, run.people if round_ else ())
        answers = together(
            lambda p=publishing: ask(database, ANNA, "fc_apply", p=p),
            lambda r=run.id, p=more: ask(database, ANNA, "fc_stage", p_run=r, p=p),
        )
        rows = ask(database, ANNA, "fc_run_faces", p_run=run.id)["v"]
        if answers[0] == "FC422":
            assert "late" in rows
            assert head(database, ANNA)[1] == live
        else:
            assert answers[1] == "FC404"
            assert rows == run.faces


def test_a_run_that_is_published_or_unknown_takes_no_more_rows(database):
    run = live_library(database, ANNA)
    more = {"v": ["late"], "o": [None], "l": [-1], "s": [0], "m": ["m"]}
    before = contents(database)
    for run_id in (run.id, "unknown", ""):
        refused("FC404", lambda run_id=run_id: ask(database, ANNA, "fc_stage", p_run=run_id, p=more))
    assert ask(database, ANNA, "fc_begin_run", p_run=run.id, p=run.head) == {"status": "ready"}
    assert contents(database) == before


# --- pages and limits -----------------------------------------------------------------------------------------------


def test_pages_of_facts_hold_every_fact_in_the_order_of_bytes(database):
    names = ["B", "a", "Ä", "z", "_", "1", "é", "e", "E", "𝔘", "", " "]
    rows = [said("mark", f"{name}/{i}", "ignored") for i in range(250) for name in names]
    apply(database, ANNA, 0, *rows)
    found: list[list[str]] = []
    while page := ask(database, ANNA, "fc_facts", p_after=found[-1][:3] if found else None, p_limit=5000)["rows"]:
        assert len(page) <= 1000
        found += page
    subjects = [subject for _, subject, _, _ in found]
    assert subjects == sorted({row[1] for row in rows}, key=lambda s: str(s).encode())


def test_pages_of_a_run_hold_every_face_in_the_order_of_bytes(database):
    run = StagedRun("r", 2500, 3)
    run.faces = [f"{'äAa_Z'[i % 5]}{i}" for i in range(2500)]
    stage(database, ANNA, run)
    ask(database, ANNA, "fc_apply", p=run.publishing(0))
    found: list[str] = []
    while page := ask(database, ANNA, "fc_run_faces", p_run="r", p_after=found[-1] if found else "")["v"]:
        assert len(page) <= 1000
        found += page
    assert found == sorted(run.faces, key=str.encode)
    assert ask(database, ANNA, "fc_run", p_run="r")["starts"] == [found[999], found[1999]]


def test_changes_come_in_order_and_none_is_left_out(database):
    for revision in range(30):
        size = 700 if revision % 3 == 0 else 2
        apply(database, ANNA, revision, *(said("mark", f"{revision}-{i}", "ignored") for i in range(size)))
    seen: list[int] = []
    while records := ask(database, ANNA, "fc_changes", p_since=seen[-1] if seen else 0)["records"]:
        assert len(records) == 1 or sum(len(r["decisions"]) for r in records) <= 1000
        seen += [record["revision"] for record in records]
    assert seen == list(range(1, 31))


def test_a_change_larger_than_a_page_comes_whole(database):
    apply(database, ANNA, 0, *(said("mark", f"f{i}", "ignored") for i in range(3000)))
    records = ask(database, ANNA, "fc_changes", p_since=0)["records"]
    assert [len(record["decisions"]) for record in records] == [3000]


def test_100_000_faces_are_staged_and_published_far_below_the_limit_of_a_statement(database, tell):
    run = StagedRun("large", 100_000, 2500)
    slowest, spent = ("", 0.0), 0.0

    def timed(function: str, **arguments: object) -> object:
        nonlocal slowest, spent
        started = time.monotonic()
        answer = ask(database, ANNA, function, **arguments)
        took = time.monotonic() - started
        slowest, spent = max(slowest, (function, took), key=lambda s: s[1]), spent + took
        return answer

    timed("fc_begin_run", p_run=run.id, p=run.head)
    for start in range(0, 100_000, 10_000):
        unknown = timed("fc_stage", p_run=run.id, p=run.rows(start, start + 10_000))
        assert len(unknown) == 10_000  # type: ignore[arg-type]
    staging = spent
    assert timed("fc_apply", p=run.publishing(0)) == {"revision": 1}
    tell(
        f"100,000 faces: staged in {staging:.2f} s by calls of 10,000, published in {spent - staging:.2f} s, "
        f"slowest call {slowest[0]} {slowest[1]:.2f} s"
    )
    assert slowest[1] < 4, "half of what Supabase allows a statement"
    with session(database, ANNA) as db:
        started = time.monotonic()
        assert db.execute("select count(*), sum(face_count) from face_clusters").fetchone() == (
            run.head["n_people"],
            90_000,
        )
        tell(f"100,000 faces: reading the view face_clusters {time.monotonic() - started:.2f} s")
    started = time.monotonic()
    apply(database, ANNA, 1, said("name", run.people[0], "Eva"))
    tell(f"a name on top of 100,000 faces: {(time.monotonic() - started) * 1000:.0f} ms")


def test_old_runs_are_let_go_of_in_calls_that_stay_short(database, tell):
    live, known = None, []
    for number in range(8):
        run = StagedRun(f"run-{number}", 20_000 if number == 0 else 100, 5)
        stage(database, ANNA, run)
        ask(database, ANNA, "fc_apply", p=run.publishing(number, live, known))
        live, known = run.id, run.people
    assert [r["id"] for r in ask(database, ANNA, "fc_runs")] == [f"run-{n}" for n in (7, 6, 5, 4, 3)]
    counts = []
    while not counts or counts[-1]:
        started = time.monotonic()
        counts.append(ask(database, ANNA, "fc_prune"))
        assert time.monotonic() - started < 4
    assert sum(counts) == 20_200
    assert max(counts) <= 20_000
    tell(f"pruning {sum(counts):,} rows: {len(counts)} calls")
    with database.connect("supabase_admin") as db:
        kept = db.execute("select distinct run_id from fc_run_faces order by 1").fetchall()
    assert kept == [(f"run-{n}",) for n in (3, 4, 5, 6, 7)]


def test_the_run_with_a_name_and_the_one_shown_before_stay(database):
    live, known, revision = None, [], 0
    for number in range(8):
        run = StagedRun(f"run-{number}", 20, 3)
        stage(database, ANNA, run)
        ask(database, ANNA, "fc_apply", p=run.publishing(revision, live, known))
        live, known, revision = run.id, run.people, revision + 1
        if number == 1:
            revision = apply(database, ANNA, revision, said("run_name", "run-1", "Summer"))
    assert [r["id"] for r in ask(database, ANNA, "fc_runs")] == [f"run-{n}" for n in (7, 6, 5, 4, 3, 1)]
    assert ask(database, ANNA, "fc_run", p_run="run-1")["n_faces"] == 20
    refused("FC404", lambda: ask(database, ANNA, "fc_run", p_run="run-0"))


def test_the_last_five_runs_are_the_last_changes_that_published_one_whatever_the_clock_says(database):
    live, known = None, []
    for number in range(8):
        if number == 3:  # as if the clock were set back now: what was published so far is of a later day
            with database.connect("supabase_admin") as db:
                db.execute("update fc_runs set at = at + interval '70 years'")
        run = StagedRun(f"run-{number}", 20, 3)
        stage(database, ANNA, run)
        ask(database, ANNA, "fc_apply", p=run.publishing(number, live, known))
        live, known = run.id, run.people
        assert ask(database, ANNA, "fc_runs")[0]["id"] == live
    assert [r["id"] for r in ask(database, ANNA, "fc_runs")] == [f"run-{n}" for n in (7, 6, 5, 4, 3)]


def test_nothing_of_who_was_erased_stays_in_any_table(database):
    run = live_library(database, ANNA, prefix="gone")
    apply(database, ANNA, 2, said("name", run.people[1], "Zacharias"), title="Named Zacharias")
    apply(
        database,
        ANNA,
        3,
        said("pin", run.faces[1], run.people[1]),
        said("link", run.faces[1], "same", about=run.faces[4]),
    )
    faces = [face for face, owner in zip(run.faces, run.owners, strict=True) if owner == run.people[1]]
    assert apply(database, ANNA, 4, title="Erased somebody", erased=[run.people[1], *faces]) == 5
    left = {
        table: [row for row in rows if "Zacharias" in row or run.people[1] in row or any(face in row for face in faces)]
        for table, rows in contents(database).items()
    }
    assert {table: rows for table, rows in left.items() if rows} == {}
    assert ask(database, ANNA, "fc_history", p_limit=1)[0]["n_erased"] == len(faces) + 1


def test_the_log_lets_nobody_change_it_not_even_its_owner(database):
    live_library(database, ANNA)
    for statement in ("update fc_log set title = 'x'", "delete from fc_log", "truncate fc_log"):
        with pytest.raises(psycopg.Error) as caught, database.connect("supabase_admin") as db:
            db.execute(statement)  # type: ignore[arg-type]
        assert caught.value.sqlstate == "FC405"


def test_a_face_that_is_known_under_its_mark_is_not_asked_for_again(database):
    run = StagedRun("r", 10, 2)
    ask(database, ANNA, "fc_begin_run", p_run="r", p=run.head)
    assert ask(database, ANNA, "fc_stage", p_run="r", p=run.rows(0, 10)) == run.faces
    know(database, ANNA, run.faces[:4])
    assert ask(database, ANNA, "fc_stage", p_run="r", p=run.rows(0, 10)) == run.faces[4:]
    assert ask(database, str(uuid.uuid4()), "fc_facts")["rows"] == []
