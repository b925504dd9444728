"""`facecluster find`: whom a face, a person or a vector looks like, and which photos people are in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from facecluster.errors import InputError

if TYPE_CHECKING:
    from facecluster.answers import Asked
    from facecluster.service import Service
    from facecluster.view import View


class Context(Protocol):
    """What a command is handed."""

    def library(self) -> Service:
        """The service with its faces at hand."""


@click.command()
@click.option("--face", metavar="FACE_ID", help="Faces like this face.")
@click.option("--person", metavar="CLUSTER_ID", help="Faces of others like this person.")
@click.option(
    "--vector", metavar="FILE", type=click.Path(path_type=Path), help="Faces like a .npy, .npz, .json or .csv."
)
@click.option("--row", type=click.IntRange(1), default=1, help="Which vector of the file, counted from 1.")
@click.option("--all", "all_of", metavar="CLUSTER_ID", multiple=True, help="Photos with each of these.")
@click.option("--any", "any_of", metavar="CLUSTER_ID", multiple=True, help="Photos with one of these.")
@click.option("--without", metavar="CLUSTER_ID", multiple=True, help="Photos with none of these.")
@click.option("--least", type=click.FloatRange(-1, 1), default=-1.0, help="Cosine that a face has to reach.")
@click.option("--most", type=click.IntRange(1), help="How many nearest faces, or photos (FACE_SEARCH_TOP_K).")
@click.option("--suggested", is_flag=True, help="With faces of whoever is probably the same person.")
@click.option("--json", "to_json", is_flag=True, help="Print as JSON.")
@click.option("--csv", "to_csv", is_flag=True, help="Print as CSV.")
@click.pass_obj
def find(context: Context, /, suggested: bool, to_json: bool, to_csv: bool, **flags: Any) -> None:
    """Find faces by a face, a person or a vector, or photos by who is in them; each with why it is there."""
    from facecluster import answers
    from facecluster.review import Review
    from facecluster.tables import as_csv

    ways = [name for name in ("face", "person", "vector") if flags[name]]
    if len(ways) + any(flags[name] for name in ("all_of", "any_of", "without")) != 1 or (to_json and to_csv):
        raise click.UsageError(
            "Choose one of --face, --person, --vector, or people by --all, --any and --without; and --json or --csv."
        )
    service = context.library()
    view = service.view()
    asked = _asked(view, service.settings.search_top_k, **flags)
    likely = Review().queue(view).likely_same if suggested else answers.NOBODY
    found = service.find(asked, likely)
    table = answers.answer_table(view, found.faces)
    if to_json:
        click.echo(answers.answer_as_json(view, asked, found))
    elif to_csv:
        click.echo(as_csv(table), nl=False)
    else:
        for row in table:
            alike = "" if row["cosine"] is None else f"cosine {row['cosine']:.2f}  distance {row['distance']:.2f}"
            click.echo(f"{row['face']}  {row['person'] or 'nobody'}  {row['name']}  {alike}  {row['why']}")
        photos = f" in {found.n_photos:,} of {found.n_photos_there:,} photos" if asked.is_for_photos else ""
        click.echo(f"{len(table):,} {'face' if len(table) == 1 else 'faces'}{photos}")


def _asked(view: View, usual: int, **flags: Any) -> Asked:
    from facecluster.answers import Asked
    from facecluster.query_vectors import query_vectors

    path, row, most = flags.pop("vector"), flags.pop("row"), flags.pop("most") or usual
    vector = None
    if path is not None:
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise InputError(f"{path} cannot be read: {exc.strerror}. Nothing was searched. Check the name.") from exc
        vector = query_vectors(path.name, data, view.faces.vectors.shape[1]).one(row - 1)
    return Asked(vector=vector, most=most, **flags)
