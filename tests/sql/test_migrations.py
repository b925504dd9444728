"""The migrations on a real Postgres: from nothing, from the tables there were, twice; what they leave open."""

from __future__ import annotations

import psycopg
import pytest
from people_sql import (
    ANNA,
    BERT,
    StagedRun,
    apply,
    ask,
    contents,
    facts,
    head,
    live_library,
    relations,
    said,
    session,
    stage,
)
from psycopg import sql
from servers.postgres_server import SUPERUSER, migrate, migrations

OPEN_FUNCTIONS = {
    *("fc_me", "fc_user", "fc_version", "fc_doctor", "fc_head", "fc_facts", "fc_record", "fc_changes", "fc_history"),
    *("fc_runs", "fc_run", "fc_run_faces", "fc_begin_run", "fc_stage", "fc_know_faces", "fc_discard_run"),
    *("fc_prune", "fc_apply"),
}
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def test_the_migrations_run_on_an_empty_project(database):
    with session(database, ANNA) as db:
        doctor = db.execute("select public.fc_doctor()").fetchone()[0]
    assert doctor["version"] == 1
    assert doctor["unforced"] == []
    assert doctor["policies"] == len(relations(database, "r"))
    assert head(database, ANNA) == (0, None)


def test_whoever_runs_the_migrations_is_bound_by_policies(database):
    with database.connect() as db:
        assert db.execute("select rolsuper, rolbypassrls from pg_roles where rolname = current_user").fetchone() == (
            False,
            False,
        )
        owners = db.execute(
            "select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert owners == [("postgres",)]


def test_the_first_migration_run_twice_is_refused_whole(database):
    live_library(database, ANNA)
    before = contents(database)
    with pytest.raises(psycopg.errors.DuplicateTable):
        database.run(migrations()[0].read_text("utf-8"))
    assert contents(database) == before
    assert head(database, ANNA)[0] == 2


def test_the_second_migration_run_twice_changes_nothing_more(bare_database):
    old_tables(bare_database, "uuid", "uuid")
    migrate(bare_database)
    before = contents(bare_database)
    bare_database.run(migrations()[1].read_text("utf-8"))
    assert contents(bare_database) == before


def test_runs_from_before_they_were_numbered_are_older_than_any_after(bare_database):
    migrate(bare_database, upto=migrations()[2].name)
    live, known = None, []
    for number in range(4):
        if number == 2:
            for _ in ("once", "twice"):
                bare_database.run(migrations()[3].read_text("utf-8"))
        run = StagedRun(f"run-{number}", 20, 3)
        stage(bare_database, ANNA, run)
        ask(bare_database, ANNA, "fc_apply", p=run.publishing(number, live, known))
        live, known = run.id, run.people
        if number == 1:
            bare_database.run("update fc_runs set at = at + interval '70 years'", SUPERUSER)
    assert [r["id"] for r in ask(bare_database, ANNA, "fc_runs")] == [f"run-{n}" for n in (3, 2, 1, 0)]


def test_every_table_has_row_level_security_enabled_and_forced(database):
    with database.connect() as db:
        found = db.execute(
            "select relname, relrowsecurity, relforcerowsecurity from pg_class "
            "where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
    assert len(found) >= 8
    assert [name for name, enabled, forced in found if not (enabled and forced)] == []


def test_every_view_asks_with_the_rights_of_who_reads_it(database):
    with database.connect() as db:
        options = db.execute(
            "select relname, reloptions from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'"
        ).fetchall()
    assert {name for name, _ in options} >= {"face_clusters", "face_vector_clusters"}
    assert [name for name, said_ in options if "security_invoker=true" not in (said_ or [])] == []


def test_every_function_has_a_search_path_of_its_own(database):
    with database.connect() as db:
        found = db.execute(
            "select proname, proconfig from pg_proc where pronamespace = 'public'::regnamespace"
        ).fetchall()
    assert len(found) > 15
    assert [n for n, config in found if not any(c.startswith("search_path=") for c in config or [])] == []


def test_only_the_functions_of_the_interface_can_be_called_and_none_of_them_by_anon(database):
    may: dict[str, set[str]] = {"anon": set(), "authenticated": set(), "service_role": set()}
    with database.connect() as db:
        for role, names in may.items():
            names |= {
                name
                for (name,) in db.execute(
                    "select proname from pg_proc where pronamespace = 'public'::regnamespace "
                    "and has_function_privilege(%s, oid, 'execute')",
                    (role,),
                )
            }
    assert may == {"anon": set(), "authenticated": OPEN_FUNCTIONS, "service_role": OPEN_FUNCTIONS}


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_a_role_may_read_tables_and_views_and_nothing_else(database, role):
    with database.connect() as db:
        found = {
            (relation, right)
            for relation in relations(database, "r") + relations(database, "v")
            for right in RIGHTS
            if db.execute("select has_table_privilege(%s, %s, %s)", (role, f"public.{relation}", right)).fetchone()[0]
        }
    expected = set() if role == "anon" else {(r, "SELECT") for r in relations(database, "r") + relations(database, "v")}
    assert found == expected


def test_a_table_that_somebody_forgets_to_close_is_open_as_on_a_real_project(database):
    database.run(
        "create table public.forgotten(a int); create function public.forgot() returns int language sql as 'select 1'"
    )
    with database.connect() as db:
        assert db.execute("select has_table_privilege('anon', 'public.forgotten', 'delete')").fetchone()[0]
        assert db.execute("select has_function_privilege('anon', 'public.forgot()', 'execute')").fetchone()[0]


ANNA_UUID, BERT_UUID = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
C1, C2, C3, C4 = (f"00000000-0000-0000-0000-0000000000c{i}" for i in range(1, 5))

OLD_PEOPLE = [  # user, cluster, representative crop, representative vector, faces, name
    (ANNA_UUID, C1, "crop 1", "v1", 2, "Änne O'Hara"),
    (ANNA_UUID, C2, "crop 3", "v3", 1, None),
    (BERT_UUID, C3, "crop b", "b1", 1, "Änne O'Hara"),
]
OLD_FACES = [  # user, vector, cluster
    (ANNA_UUID, "v1", C1),
    (ANNA_UUID, "v2", C1),
    (ANNA_UUID, "v3", C2),
    (ANNA_UUID, "noise", None),
    (BERT_UUID, "b1", C3),
    (BERT_UUID, "v1", C4),
]


def old_tables(database, user_type: str, cluster_type: str, primary_key: bool = True) -> None:
    """The two tables as projects have them, `user_id` a uuid or a text."""
    key = ", primary key (cluster_id)" if primary_key else ""
    database.run(
        f"create table public.face_clusters (cluster_id {cluster_type}, user_id {user_type}, "
        "representative_face_crop text, representative_vector_id text, face_count int, name text, "
        f"created_at timestamptz default now(), updated_at timestamptz default now(){key});"
        f"create table public.face_vector_clusters (vector_id text, cluster_id {cluster_type}, user_id {user_type}, "
        "image_url text, folder text, face_crop text, updated_at timestamptz default now())"
    )
    with database.connect() as db, db.cursor() as cursor:
        cursor.executemany(
            f"insert into face_clusters (user_id, cluster_id, representative_face_crop, representative_vector_id, "  # noqa: S608
            f"face_count, name) values (%s::{user_type}, %s::{cluster_type}, %s, %s, %s, %s)",
            OLD_PEOPLE,
        )
        cursor.executemany(
            f"insert into face_vector_clusters values (%s, %s::{cluster_type}, %s::{user_type}, %s, 'holiday', %s)",  # noqa: S608
            [(vector, cluster, user, f"https://{vector}", f"crop of {vector}") for user, vector, cluster in OLD_FACES],
        )


@pytest.mark.parametrize("user_type", ["uuid", "text"])
@pytest.mark.parametrize("cluster_type", ["uuid", "text"])
def test_old_tables_come_in_with_their_names_and_the_views_show_what_they_showed(
    bare_database, user_type, cluster_type
):
    old_tables(bare_database, user_type, cluster_type)
    migrate(bare_database)
    with session(bare_database, ANNA_UUID) as db:
        people = db.execute(
            "select cluster_id, user_id, representative_vector_id, representative_face_crop, face_count, name "
            "from face_clusters order by 1"
        ).fetchall()
        vectors = db.execute(
            "select vector_id, cluster_id, user_id, image_url, folder, face_crop from face_vector_clusters order by 1"
        ).fetchall()
    assert people == [
        (C1, ANNA_UUID, "v1", "crop of v1", 2, "Änne O'Hara"),
        (C2, ANNA_UUID, "v3", "crop of v3", 1, None),
    ]
    assert vectors == [
        (v, c, ANNA_UUID, f"https://{v}", "holiday", f"crop of {v}") for v, c in (("v1", C1), ("v2", C1), ("v3", C2))
    ]
    revision, run = head(bare_database, ANNA_UUID)
    assert revision == 1
    assert ask(bare_database, ANNA_UUID, "fc_run_faces", p_run=run)["o"] == [None, C1, C1, C2]
    assert facts(bare_database, ANNA_UUID)["name", C1, ""] == "Änne O'Hara"


def test_columns_of_the_views_are_those_of_the_old_tables(bare_database):
    old_tables(bare_database, "uuid", "uuid")
    columns = sql.SQL(
        "select table_name, column_name from information_schema.columns where table_schema = 'public' "
        "and table_name in ('face_clusters', 'face_vector_clusters') order by 1, ordinal_position"
    )
    with bare_database.connect() as db:
        before = db.execute(columns).fetchall()
    migrate(bare_database)
    with bare_database.connect() as db:
        assert db.execute(columns).fetchall() == before


def test_an_imported_library_goes_on_as_any_other(bare_database):
    old_tables(bare_database, "uuid", "uuid")
    migrate(bare_database)
    assert apply(bare_database, ANNA_UUID, 1, said("name", C2, "Bert")) == 2
    assert apply(bare_database, BERT_UUID, 1, said("name", C3, "Eva", "Änne O'Hara")) == 2
    with session(bare_database, ANNA_UUID) as db:
        assert db.execute("select name from face_clusters order by cluster_id").fetchall() == [
            ("Änne O'Hara",),
            ("Bert",),
        ]


def test_the_tables_there_were_are_closed_to_everybody_who_comes_through_the_door(bare_database):
    old_tables(bare_database, "uuid", "uuid")
    migrate(bare_database)
    for table in ("face_clusters_legacy", "face_vector_clusters_legacy"):
        for user, role in ((None, "anon"), (ANNA_UUID, "authenticated")):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                session(bare_database, user, role) as db,
            ):
                db.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))


def test_an_import_leaves_a_user_alone_who_already_has_changes(bare_database):
    old_tables(bare_database, "uuid", "uuid")
    migrate(bare_database, upto=migrations()[0].name)
    apply(bare_database, ANNA_UUID, 0, said("person", "p", "1"))
    migrate_second = migrations()[1].read_text("utf-8")
    bare_database.run(migrate_second)
    assert facts(bare_database, ANNA_UUID) == {("person", "p", ""): "1"}
    assert head(bare_database, BERT_UUID)[0] == 1


def test_empty_old_tables_and_a_single_one_are_no_trouble(bare_database, server):
    old_tables(bare_database, "uuid", "uuid")
    bare_database.run("truncate face_clusters, face_vector_clusters")
    migrate(bare_database)
    assert head(bare_database, ANNA_UUID) == (0, None)
    other = server.bare_database()
    old_tables(other, "text", "text")
    other.run("drop table face_clusters")
    migrate(other)
    assert head(other, BERT) == (0, None)
    other.drop()
