"""`facecluster history`: every change, with who made it and when."""

from __future__ import annotations

import click

from facecluster.cli_find import Context


@click.command()
@click.option("--json", "to_json", is_flag=True, help="Changes with all their decisions as JSON.")
@click.option("--csv", "to_csv", is_flag=True, help="A line for each decision of each change as CSV.")
@click.option("--limit", type=click.IntRange(1), help="Only the newest N changes.")
@click.pass_obj
def history(context: Context, to_json: bool, to_csv: bool, limit: int | None) -> None:
    """List every change with who made it and when, newest first."""
    from facecluster import exporting

    if to_json and to_csv:
        raise click.UsageError("Choose one of --json and --csv.")
    service = context.library()
    log = service.history(limit or max(service.view().snapshot.revision, 1))
    if to_json:
        click.echo(exporting.log_as_json(log))
    elif to_csv:
        click.echo(exporting.log_as_csv(log), nl=False)
    else:
        for record in log:
            undone = f"  (takes back {record.undoes})" if record.undoes is not None else ""
            click.echo(f"{record.revision:>6}  {record.at[:19]}  {record.author}  {record.title}{undone}")
        if not log:
            click.echo("Nothing has happened yet.")
