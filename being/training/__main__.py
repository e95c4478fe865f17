"""`python -m being.training DATASET -o AVATAR`: `being fit` for hosts without Ray and PyAV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from being.errors import STOPPED, BeingError
from being.progress import show_progress
from being.training.fit import fit
from being.training.options import config_of, fit_options


@click.command(context_settings={"max_content_width": 110})
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="the avatar's folder; its name is the id"
)
@click.option("--name", default=None, help="display name [default: the id]")
@click.option("--work", default=None, type=click.Path(path_type=Path), help="checkpoint and report [default: OUT.run]")
@click.option("--restart", is_flag=True, help="forget an earlier checkpoint")
@click.option("--force", "replace", is_flag=True, help="overwrite an avatar that is already there")
@click.option("--consent", default="unconsented", help="synthetic, unconsented, or a JSON consent record")
@fit_options
def main(
    dataset: Path,
    out: Path,
    name: str | None,
    work: Path | None,
    restart: bool,
    replace: bool,
    consent: str,
    **values: Any,
) -> None:
    """Train an avatar from a talking-portrait folder.

    Ctrl-C stops at the next whole step; the same command goes on from there.
    """
    try:
        config = config_of(values)
        with show_progress() as progress:
            result = fit(
                dataset, out, config, progress, work=work, restart=restart, replace=replace, name=name, consent=consent
            )
    except BeingError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    if result.stopped:
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
