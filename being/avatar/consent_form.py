"""Where a consent record comes from: a file, or answers to a few questions at the terminal."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

import click
from pydantic import ValidationError

from being.avatar.consent import SYNTHETIC, ConsentRecord
from being.errors import FormatError, InputError

EXAMPLE = (
    '{"who": "Ada Lovelace", "when": "2026-11-22", "scope": "talks on our web site", '
    '"grounds": "her signed release", "statement": "I agree that ..."}'
)
GROUNDS = {
    "self": "It is my own face.",
    "agreed": "The person agreed, and I can show it.",
    "synthetic": "Nobody: the person in the video was generated.",
    "none": "None of these (the avatar is marked unconsented; servers refuse it).",
}
MAX_BYTES = 1 << 20


def read_consent(consent: str) -> ConsentRecord:
    """A consent record from "synthetic", "unconsented" or a JSON file."""
    if consent == "synthetic":
        return SYNTHETIC
    if consent == "unconsented":
        return ConsentRecord()
    return read_record(Path(consent))


def read_record(path: Path) -> ConsentRecord:
    """The record in a JSON file. A file without `status` that says who, when, scope and statement is a consent.

    Raises
    ------
    InputError
        It cannot be read. FormatError: it is no consent record.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path} is not a consent record (larger than 1 MiB)")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", f"Write a JSON file like {EXAMPLE}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not a consent record (not text)", f"Write it like {EXAMPLE}") from error
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise FormatError(f"{path} is not a consent record (no JSON object)", f"Write it like {EXAMPLE}")
        return ConsentRecord.model_validate({"status": "consented"} | fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = f"{field}: {first['msg']}" if field else first["msg"]
        raise FormatError(f"{path} is not a consent record ({said})", f"Write it like {EXAMPLE}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{path} is not a consent record (no JSON: {error})", f"Write it like {EXAMPLE}") from error


def ask(today: date) -> ConsentRecord:
    """Ask at the terminal who is cloned and on what grounds. click.Abort where the questions are broken off."""
    click.echo("Whose face is in this video? An avatar can be made to say anything; its record says who allowed that.")
    for name, text in GROUNDS.items():
        click.echo(f"  {name:<10} {text}")
    grounds = click.prompt("On what grounds may it be cloned", type=click.Choice(list(GROUNDS)), show_choices=False)
    if grounds == "none":
        return ConsentRecord()
    if grounds == "synthetic":
        return SYNTHETIC
    who = click.prompt("Full name of the person").strip()
    scope = click.prompt("What may the avatar be used for", default="my own experiments").strip()
    if grounds == "agreed":
        grounds = click.prompt("What can be shown for it (a release, a contract, a message; where it is kept)").strip()
        statement = f"{who} agreed to be cloned from this video and to the use named under scope."
    else:
        statement = f"I am {who}. I agree to be cloned from this video and to the use named under scope."
    click.echo(f'The record will say: "{statement}" Scope: {scope}. It is signed with your key.')
    again = click.prompt("Type the name again to confirm").strip()
    if again.casefold() != who.casefold():
        raise InputError(f"the names differ ({who!r}, {again!r}): nothing was recorded", "Run the command again")
    return ConsentRecord(status="consented", who=who, when=today, scope=scope, grounds=grounds, statement=statement)


def about(record: ConsentRecord, footage_sha256: str) -> ConsentRecord:
    """The record bound to its footage. Raises InputError where it names other footage."""
    if record.footage_sha256 not in (None, footage_sha256):
        raise InputError(
            f"the consent record is about other footage (SHA-256 {str(record.footage_sha256)[:12]}..., "
            f"this is {footage_sha256[:12]}...)",
            "Use the record of this video",
        )
    return record if record.status == "unconsented" else record.model_copy(update={"footage_sha256": footage_sha256})


def hash_footage(path: Path) -> str:
    """SHA-256 of a video file; of a dataset folder, over its sound, tracking and pictures by name."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    pictures = [part for part in (path / "ori_imgs").glob("*") if part.suffix in (".jpg", ".jpeg", ".png")]
    sounds = [path / "aud.wav"] if (path / "aud.wav").is_file() else sorted(path.glob("*.wav"))
    for part in [*sounds, path / "track_params.pt", *sorted(pictures)]:
        if part.is_file():
            with part.open("rb") as file:
                digest.update(f"{part.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
