"""A library as the first version made it, so that libraries of then are opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

FORMAT_1 = """
create table meta(key text primary key, value text not null) without rowid;
create table faces(
    id text primary key, photo text not null, url text not null, folder text not null, crop_url text not null,
    blur_score real, box_left real, box_top real, box_right real, box_bottom real,
    crop_offset integer not null, crop_length integer not null, crop_sha blob not null
) without rowid;
create table facts(
    kind text not null, subject text not null, object text not null, value text not null,
    primary key(kind, subject, object)
) without rowid;
create table log(
    revision integer primary key, at text not null, author text not null, title text not null,
    undoes integer, decisions text not null
);
create trigger log_is_append_only_1 before update on log begin select raise(abort, 'the log is append-only'); end;
create trigger log_is_append_only_2 before delete on log begin select raise(abort, 'the log is append-only'); end;
create table runs(
    id text primary key, at text not null, author text not null, params text not null, fingerprint text not null,
    n_faces integer not null, n_people integer not null, n_noise integer not null,
    reason text not null, questions text not null
) without rowid;
create table run_faces(
    run_id text not null references runs, face_id text not null, owner text, label integer not null,
    strength real not null, primary key(run_id, face_id)
) without rowid;
insert into meta values('user', 'anna');
insert into facts values('name', 'p1', '', 'Anna'), ('live_run', '', '', 'r1');
insert into log values
    (1, '2026-01-01T00:00:00+00:00', 'anna', 'Named somebody “Anna”', null, '[["name","p1","","Anna",null]]'),
    (2, '2026-01-02T00:00:00+00:00', 'anna', 'Published', null, '[["live_run","","","r1",null]]');
insert into runs values('r1', '2026-01-02T00:00:00+00:00', 'anna', '{}', 'f', 1, 1, 0, '{}', '[]');
insert into run_faces values('r1', 'a', 'p1', 0, 1.0);
pragma user_version = 1;
"""


def library_of_format_1(folder: Path) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "library.db")) as db:
        db.executescript(FORMAT_1)
    return folder
