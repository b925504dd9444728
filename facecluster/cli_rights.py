"""`facecluster export-person`, `erase-person` and `retention`: what people may ask for, and how long they are kept."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facecluster.cli_find import Context
from facecluster.errors import InputError

if TYPE_CHECKING:
    from facecluster.model import ChangeRecord
    from facecluster.rights import Untouched
    from facecluster.service import Service


@click.command("export-person")
@click.argument("cluster_id")
@click.option("--to", "to", type=click.Path(path_type=Path), help="Folder to make (./CLUSTER_ID).")
@click.pass_obj
def export_person(context: Context, cluster_id: str, to: Path | None) -> None:
    """Write everything that is kept about the person CLUSTER_ID as files that need no program of ours."""
    from facecluster.model import PersonId

    service, folder, person = context.library(), to or Path(cluster_id), PersonId(cluster_id)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already. Nothing was written. Choose another folder with --to.")
    files = service.everything_about(person)
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as exc:
        raise InputError(
            f"{folder} cannot be written: {exc.strerror}. The export is not whole. Choose another folder with --to."
        ) from exc
    n_faces = len(service.view().everything_of(person)[0])
    click.echo(f"Everything about {service.view().called(person)} written to {folder}: {_faces(n_faces)}.")


@click.command("erase-person")
@click.argument("cluster_id")
@click.option("--faces", "n_named", type=int, metavar="N", help="How many faces the person has: all of them go.")
@click.option("--yes", is_flag=True, help="Do not ask; --faces must name the number.")
@click.option("--yes-erase", type=int, metavar="N", help="The same as --faces N --yes.")
@click.option("--block", is_flag=True, help="Leave the same faces out of whatever is imported or fetched later.")
@click.pass_obj
def erase_person(
    context: Context, cluster_id: str, n_named: int | None, yes: bool, yes_erase: int | None, block: bool
) -> None:
    """Erase the person CLUSTER_ID for good: faces, pictures, vectors at the source too, and all that was said."""
    from facecluster.model import PersonId

    service, person = context.library(), PersonId(cluster_id)
    n_faces, called = len(service.view().everything_of(person)[0]), service.view().called(person)
    named = yes_erase if yes_erase is not None else n_named
    if named is None or not (yes or yes_erase is not None):
        if named not in (None, n_faces):
            raise InputError(f"{called} has {_faces(n_faces)} and not {named:,}. Nothing was erased. Look again.")
        goes = f"{called}: {_faces(n_faces)} with vectors and pictures{_where(service)}, and all that was said of them"
        named = _confirmed(goes, n_faces, "faces", f"--faces {n_faces} --yes, or --yes-erase {n_faces},")
    service.erasing.erase([person], named, block=block)
    click.echo(f"Erased {called}: {_faces(n_faces)}.{_KEPT_ELSEWHERE}")


@click.command()
@click.option("--older-than", default="3y", show_default=True, metavar="AGE", help="3y, 18m, 4w, 90d.")
@click.option("--erase", is_flag=True, help="Erase them; without it they are only listed.")
@click.option("--yes-erase", type=int, metavar="N", help="Do not ask: erase exactly these N people.")
@click.option("--block", is_flag=True, help="Leave the same faces out of whatever is imported or fetched later.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON; with --erase those who were erased.")
@click.pass_obj
def retention(
    context: Context, older_than: str, erase: bool, yes_erase: int | None, block: bool, as_json: bool
) -> None:
    """List people of whom nothing was said for long, the longest ago first; --erase erases them."""
    from facecluster import rights

    if yes_erase is not None and not erase:
        raise click.UsageError("--yes-erase goes with --erase.")
    service = context.library()
    before = datetime.now(UTC) - rights.age_of(older_than)
    found = rights.untouched(service.view(), _log(service), before)
    n_faces = sum(one.n_faces for one in found)
    if as_json:
        click.echo(json.dumps([_row(one) for one in found], ensure_ascii=False, indent=1))
    else:
        for one in found:
            at = one.at.date().isoformat() if one.at else "never     "
            click.echo(f"{at}  {one.person}  {one.n_faces:>7,}  {one.name}")
        click.echo(f"{_people(len(found))} with {_faces(n_faces)}: nothing was said of them since {before.date()}.")
    if not erase or not found:
        return
    if yes_erase is None:
        goes = f"{_people(len(found))}: {_faces(n_faces)}{_where(service)}, and all that was said of them"
        yes_erase = _confirmed(goes, len(found), "people", f"--yes-erase {len(found)}")
    if yes_erase != len(found):
        raise InputError(f"These are {_people(len(found))} and not {yes_erase:,}. Nothing was erased. Look again.")
    service.erasing.erase([one.person for one in found], n_faces, block=block)
    if not as_json:
        click.echo(f"Erased {_people(len(found))}: {_faces(n_faces)}.{_KEPT_ELSEWHERE}")


RIGHTS = (export_person, erase_person, retention)

_KEPT_ELSEWHERE = " Backups and exports made before still hold them: docs/privacy.md."


def _confirmed(goes: str, n: int, what: str, flags: str) -> int:
    """The number that somebody at the terminal types after reading what goes."""
    if not sys.stdin.isatty():
        raise InputError(
            f"This would erase {goes}, for good. Nothing was erased, because nobody can be asked. "
            f"Add {flags} if that is what you want."
        )
    click.echo(f"This erases {goes}. It cannot be undone.")
    typed = click.prompt(f"Type the number of {what} to erase them, anything else to keep them", "", show_default=False)
    if typed.strip() != str(n):
        raise InputError(f"You typed {typed!r} and not {n}. Nothing was erased.")
    return n


def _log(service: Service) -> list[ChangeRecord]:
    return list(service.history(max(service.view().snapshot.revision, 1)))


def _row(one: Untouched) -> dict[str, object]:
    at = one.at.isoformat() if one.at else None
    return {"cluster_id": one.person, "name": one.name, "face_count": one.n_faces, "last_said": at}


def _where(service: Service) -> str:
    return "" if service.view().faces.coverage is None else ", here and in the Pinecone index"


def _faces(n: int) -> str:
    return "1 face" if n == 1 else f"{n:,} faces"


def _people(n: int) -> str:
    return "1 person" if n == 1 else f"{n:,} people"
