"""`being fit`: footage in, avatar out. Its options are the fields of the training configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from being.errors import STOPPED
from being.progress import show_progress
from being.training import fit
from being.training.options import config_of, fit_options


@click.command(name="fit", context_settings={"max_content_width": 110})
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The avatar's folder; its name is its id."
)
@click.option("--name", help="Display name [default: the id].")
@click.option("--work", type=click.Path(path_type=Path), help="Folder of checkpoint and report [default: OUT.run].")
@click.option("--restart", is_flag=True, help="Forget an earlier checkpoint.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--consent", default="unconsented", help="synthetic, unconsented, or a JSON consent record.")
@fit_options
def command(
    dataset: Path,
    out: Path,
    name: str | None,
    work: Path | None,
    restart: bool,
    force: bool,
    consent: str,
    **values: Any,
) -> None:
    """Train the avatar OUT from DATASET, a talking-portrait folder.

    Ctrl-C stops at a whole step; the same command goes on from there. The report stands in OUT.run/report.html.

    \b
    Examples:
        being synth -o footage --seconds 60
        being fit footage -o avatars/me --minutes 30
        being render speech.wav -o speech.mp4 --avatar me
    """
    config = config_of(values)
    with show_progress() as progress:
        result = fit(
            dataset, out, config, progress, work=work, restart=restart, replace=force, name=name, consent=consent
        )
    if result.avatar is None:
        click.get_current_context().exit(STOPPED)
    scores = ", ".join(f"{key} {value:.4g}" for key, value in result.metrics.items())
    click.echo(f"{out}: {scores or 'trained'}; report {result.work / 'report.html'}")
