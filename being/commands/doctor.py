"""`being doctor`: what works here, and the remedy for what does not."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

LACKING = {True: ("fails", "red"), False: ("absent", "yellow")}  # by whether it is required


@click.command(name="doctor", context_settings={"max_content_width": 110})
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of objects.")
def command(as_json: bool) -> None:
    """Try every part of Being on this machine. Takes up to a minute the first time, while kernels are compiled.

    The exit status is 0 when `being render` works, 1 when something it needs does not.
    """
    import logging

    from rich.console import Console

    from being.doctor import examine

    logging.disable(logging.CRITICAL)  # the findings say what went wrong, once
    findings = []
    screen = Console(highlight=False)
    with Console(stderr=True).status("trying every part"):
        for finding in examine():
            findings.append(finding)
            if as_json:
                continue
            word, colour = ("works", "green") if finding.works else LACKING[finding.required]
            screen.print(
                f"[{colour}]{word:<7}[/][bold]{finding.name:<14}[/] {finding.purpose}: ", end="", soft_wrap=True
            )
            screen.print(finding.detail, markup=False, soft_wrap=True)
            if finding.remedy:
                screen.print(f"{'':<21}-> {finding.remedy}", markup=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if not all(finding.works for finding in findings if finding.required):
        click.get_current_context().exit(1)
