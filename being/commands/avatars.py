"""`being avatars`: what can be played, and what is broken and why."""

from __future__ import annotations

import json
from pathlib import Path

import click

from being.commands.library_option import require_folders


@click.command(name="avatars", context_settings={"max_content_width": 110})
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects.")
@click.option(
    "--library",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of avatars, may be repeated [default: $BEING_AVATARS or ./avatars, and the packaged demo].",
)
def command(as_json: bool, library: tuple[Path, ...]) -> None:
    """List the avatars at hand, and whose likeness each is.

    The column consent shows who agreed, when, and the key that signed the record together with the model. "synthetic"
    is nobody's likeness. "unconsented", and a record that is not signed or whose signature is wrong, are not played by
    servers unless their configuration says otherwise.

    \b
    Examples:
        being avatars
        being avatars --json --library /data/avatars
    """
    from being.avatar.library import Library
    from being.avatar.trust import consent_trust

    require_folders(library)
    shelf = Library(library or None)
    if as_json:
        rows = [
            {
                "id": entry.id,
                "name": entry.manifest.name,
                "width": entry.manifest.width,
                "height": entry.manifest.height,
                "gaussians": entry.manifest.gaussians,
                "features": entry.manifest.features.name,
                "look_ahead": entry.manifest.look_ahead,
                "consent": entry.manifest.consent.status,
                "consent_trust": consent_trust(entry.manifest).text,
                "may_be_served": consent_trust(entry.manifest).serve,
                "metrics": entry.manifest.metrics,
                "folder": str(entry.folder),
            }
            for entry in shelf.entries()
        ]
        rows += [{"folder": str(broken.folder), "error": str(broken.error)} for broken in shelf.broken()]
        click.echo(json.dumps(rows, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("id", "name", "size", "Gaussians", "hears", "look-ahead", "consent", "folder"):
        table.add_column(title, justify="right" if title == "Gaussians" else "left", overflow="fold")
    for entry in shelf.entries():
        manifest = entry.manifest
        ahead = manifest.look_ahead if isinstance(manifest.look_ahead, str) else f"{manifest.look_ahead} frames"
        size = f"{manifest.width}x{manifest.height}"
        count = f"{manifest.gaussians:,}"
        facts = (entry.id, manifest.name, size, count, manifest.features.name, ahead, consent_trust(manifest).text)
        table.add_row(*facts, _short(entry.folder))
    console = Console()
    if shelf.entries():
        console.print(table)
    else:
        click.echo("No avatars. Train one: being fit DATASET -o avatars/NAME")
    for broken in shelf.broken():
        click.echo(f"broken: {broken.error}", err=True)


def _short(folder: Path) -> str:
    """The folder relative to here where that is shorter."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
