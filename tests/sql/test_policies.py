"""Policies one by one: whose rows of which table and view a session sees."""

from __future__ import annotations

import psycopg
import pytest
from people_sql import ANNA, BERT, live_library, relations, session
from psycopg import sql
from servers.postgres_server import OWNER

TABLES = ("fc_faces", "fc_facts", "fc_live", "fc_log", "fc_people", "fc_run_faces", "fc_run_people", "fc_runs")
VIEWS = ("face_clusters", "face_vector_clusters", "fc_owned")


@pytest.fixture(scope="module")
def two_users(server):
    database = server.database()
    live_library(database, ANNA, n_faces=20)
    live_library(database, BERT, n_faces=30)
    yield database
    database.drop()


def users_seen(db: psycopg.Connection, relation: str) -> set[str]:
    """Whose rows there are."""
    query = sql.SQL("select distinct user_id from {}").format(sql.Identifier("public", relation))
    return {user for (user,) in db.execute(query)}


def test_these_are_all_tables_and_views_there_are(two_users):
    assert (tuple(relations(two_users, "r")), tuple(relations(two_users, "v"))) == (TABLES, VIEWS)


@pytest.mark.parametrize("relation", TABLES + VIEWS)
@pytest.mark.parametrize("user", [ANNA, BERT])
def test_a_signed_in_user_sees_rows_and_only_their_own(two_users, relation, user):
    with session(two_users, user) as db:
        assert users_seen(db, relation) == {user}


@pytest.mark.parametrize("relation", TABLES + VIEWS)
@pytest.mark.parametrize(
    "claims", [{}, {"sub": ""}, {"sub": None}, {"sub": []}, {"role": "service_role"}, {"email": ANNA}]
)
def test_a_token_that_names_nobody_sees_nothing(two_users, relation, claims):
    with session(two_users, None, claims=claims) as db:
        assert users_seen(db, relation) == set()


@pytest.mark.parametrize("relation", TABLES + VIEWS)
def test_a_user_named_as_only_the_service_key_may_is_not_believed(two_users, relation):
    with session(two_users, None) as db:
        db.execute("select set_config('fc.user', %s, true)", (ANNA,))
        assert users_seen(db, relation) == set()


@pytest.mark.parametrize("relation", TABLES + VIEWS)
def test_anon_is_refused(two_users, relation):
    with pytest.raises(psycopg.errors.InsufficientPrivilege), session(two_users, None, "anon") as db:
        users_seen(db, relation)


@pytest.mark.parametrize("relation", TABLES + VIEWS)
def test_the_service_key_sees_everybody(two_users, relation):
    with session(two_users, None, "service_role") as db:
        assert users_seen(db, relation) == {ANNA, BERT}


@pytest.mark.parametrize("relation", TABLES)
def test_the_owner_of_the_tables_is_bound_too(two_users, relation):
    with two_users.connect(OWNER) as db:
        assert users_seen(db, relation) == set()
        db.execute("select set_config('request.jwt.claims', %s, true)", (f'{{"sub": "{BERT}"}}',))
        assert users_seen(db, relation) == {BERT}


@pytest.mark.parametrize("table", TABLES)
def test_no_policy_lets_the_owner_write_a_row_of_somebody_else(two_users, table):
    """The functions that write run as the owner: a slip in one of them meets the policy."""
    with two_users.connect(OWNER) as db:
        db.execute("select set_config('request.jwt.claims', %s, true)", (f'{{"sub": "{BERT}"}}',))
        copy = sql.SQL("insert into {0} select (json_populate_record(t, %s::json)).* from {0} t limit 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            db.execute(copy.format(sql.Identifier("public", table)), (f'{{"user_id": "{ANNA}"}}',))
