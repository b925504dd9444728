"""The doctor: looks at settings, disk, index and database, and says in a sentence what to do about each failure."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from facecluster.config import Settings
from facecluster.errors import StoreUnavailableError, without_secrets
from facecluster.findings import LIMIT_S, Finding, within
from facecluster.model import UserId
from facecluster.stores.local import FORMAT, user_folder

LOW_DISK = 1_000_000_000  # bytes; an import writes all vectors anew before it lets go of the old ones


def examined(settings: Settings) -> Iterator[Finding]:
    """All checks in order, each as soon as it is done; what is wrong does not stop those that do not need it."""
    for finding in _all(settings):
        yield replace(finding, says=without_secrets(finding.says))


def _all(settings: Settings) -> Iterator[Finding]:
    yield from settings_findings(settings)
    yield from disk_findings(settings)
    # The packages of the two take a second to load: whoever keeps everything here does not wait for them.
    if settings.has_pinecone:
        from facecluster.doctor_pinecone import pinecone_findings

        yield from pinecone_findings(settings)
    if settings.has_supabase:
        from facecluster.doctor_supabase import supabase_findings

        yield from supabase_findings(settings)


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """Where faces and people are kept, and settings that contradict each other."""
    faces = f"the Pinecone index {settings.pinecone_index}" if settings.has_pinecone else "the embedded library"
    people = "Supabase" if settings.has_supabase else "the embedded library"
    yield Finding(
        "Settings", "ok", f"Faces come from {faces}, people are kept in {people}; the user is {settings.user!r}."
    )
    if not settings.has_pinecone:
        names = ("pinecone_host", "pinecone_namespace", "pinecone_user_field", "pinecone_grpc")
        if idle := [str(Settings.model_fields[name].alias) for name in names if getattr(settings, name)]:
            says = f"{' and '.join(idle)} without PINECONE_API_KEY: Pinecone is not used. Set the key, or"
            yield Finding("Settings", "wrong", f"{says} take the rest away.")
    if not settings.has_supabase and (settings.supabase_service_key or settings.supabase_publishable_key):
        yield Finding(
            "Settings", "wrong", "A Supabase key without SUPABASE_URL: Supabase is not used. Set the address."
        )
    if settings.has_pinecone:
        yield from _who_sees_what(settings)


def _who_sees_what(settings: Settings) -> Iterator[Finding]:
    namespace, field = settings.pinecone_namespace, settings.pinecone_user_field
    if odd := [one for one in re.findall(r"\{[^}]*\}?", namespace) if one != "{user}"]:
        says = f"PINECONE_NAMESPACE holds {odd[0]!r}, which is taken as it is. Only {{user}} stands for the user."
        yield Finding("Settings", "wrong", says)
    if "{user}" in namespace:
        yield Finding("Users", "ok", "Each user has a namespace in Pinecone.")
    elif field:
        yield Finding("Users", "ok", f"Each user sees the records whose {field!r} names them.")
    else:
        says = (
            f"Nothing tells users apart in Pinecone, so {settings.user!r} alone may read the index. For several users "
            "put {user} into PINECONE_NAMESPACE, or set PINECONE_USER_FIELD."
        )
        yield Finding("Users", "ok", says)


def disk_findings(settings: Settings) -> Iterator[Finding]:
    """The folder of the library: can it be written, has it room, can this version read it."""
    folder = user_folder(settings.library, UserId(settings.user))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            yield Finding("Folder", "ok", f"{folder} can be written." if there == folder else f"{folder} can be made.")
    except OSError as exc:
        says = (
            f"{there} cannot be written: {exc.strerror or exc}. Mend its rights, or set FACECLUSTER_LIBRARY to another."
        )
        yield Finding("Folder", "wrong", says)
    free = shutil.disk_usage(there).free
    if free < LOW_DISK:
        says = f"{free / 1e9:.2f} GB free. Nothing is lost, but imports and reading an index may stop. Make room."
        yield Finding("Disk", "wrong", says)
    else:
        yield Finding("Disk", "ok", f"{free / 1e9:,.0f} GB free.")
    try:
        yield within(LIMIT_S, lambda: _format(folder / "library.db"))
    except StoreUnavailableError as exc:
        yield Finding("Library", "note", f"{exc} It was not looked through to the end.")


def _format(path: Path) -> Finding:
    if not path.is_file():
        return Finding("Library", "ok", "There is none yet; it is made when it is first opened.")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            found = int(db.execute("pragma user_version").fetchone()[0])
            sound = str(db.execute("pragma quick_check(1)").fetchone()[0])
    except sqlite3.Error as exc:
        return Finding("Library", "wrong", f"{path} cannot be read: {exc}. Restore it from a backup.")
    if sound != "ok":
        return Finding("Library", "wrong", f"{path} is damaged: {sound}. Restore it from a backup.")
    if found > FORMAT:
        says = f"{path} has format {found}, and this version reads up to {FORMAT}. Install a newer facecluster."
        return Finding("Library", "wrong", says)
    return Finding("Library", "ok", f"Format {found}, undamaged.")
