"""The `being` command: a group whose commands are imported only when they run, and one line for every error."""

from __future__ import annotations

import importlib
import keyword
import os
import signal
import sys
from typing import Any, NoReturn

import click

from being import __version__
from being.errors import BeingError
from being.idle_threads import let_idle_threads_sleep

USER_ERROR = 2  # exit status when what the user gave cannot be used
INTERNAL_ERROR = 1
INTERRUPTED = 130  # Ctrl-C, as shells have it

COMMANDS = {
    "clone": "A short video of a person in, an avatar that talks out.",
    "render": "A sound file in, the talking video out.",
    "avatars": "List the avatars at hand.",
    "serve": "Play the avatars live, to browsers and over HTTP.",
    "capture": "A video of a person in, a talking-portrait folder out.",
    "fit": "Train an avatar from a talking-portrait folder.",
    "fit-refiner": "Make a refiner for an avatar: frames that look photographic.",
    "import": "Bring in datasets and models of older systems: GaussianTalker, InsTaG.",
    "export": "Write avatars and datasets in the forms other systems read.",
    "synth": "Make footage of the synthetic person, with exact truth.",
    "doctor": "What works on this machine, and the remedy for what does not.",
}


class LazyGroup(click.Group):
    """Knows its commands by name; `being.commands.NAME.command` is imported when NAME is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_") + "_" * keyword.iskeyword(cmd_name)  # `import` lies in import_.py
        command = importlib.import_module(f"being.commands.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"{args[0]} is no command; there are {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="being")
def being() -> None:
    """Clone a person from a short video and play that person live.

    \b
    The first video, with the avatar and the sentence that come along:
        being render --sample -o hello.mp4
    \b
    Your own sound, any format; a transparent background for an editor:
        being render speech.mp3 -o speech.mp4
        being render speech.mp3 -o speech.webm --background none
    \b
    Something does not work:
        being doctor
    """


def main() -> NoReturn:
    """Entry point: run a command; errors become one line on stderr and an exit status."""
    let_idle_threads_sleep()
    signal.signal(signal.SIGTERM, _terminated)
    debug = os.environ.get("BEING_DEBUG", "") not in ("", "0")
    try:
        status = being(prog_name="being", standalone_mode=False)  # what a command gave to ctx.exit, else None
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped")
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(USER_ERROR)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "being"
        _complain(f"{error.format_message()} (see {where} --help)")
        sys.exit(USER_ERROR)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(USER_ERROR)
    except BeingError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(USER_ERROR)
    except Exception as error:
        if debug:
            raise
        _complain(f"internal error: {type(error).__name__}: {_one_line(error)} (BEING_DEBUG=1 shows where)")
        sys.exit(INTERNAL_ERROR)
    sys.exit(status or 0)


def _terminated(number: int, frame: Any) -> NoReturn:
    """SIGTERM ends like an exception, so that half-written files are removed."""
    sys.exit(128 + number)


def _complain(text: str) -> None:
    click.echo(f"being: {text}", err=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    main()
