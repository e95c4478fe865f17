"""`ray job submit --working-dir . -- python train.py --data ... --out ...`: people into avatars on a Ray cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from being.avatar.consent import ConsentRecord
from being.avatar.consent_form import read_consent
from being.errors import BeingError, InputError
from being.progress import show_each
from being.training.options import config_of, fit_options

USER_ERROR, FAILED, STOPPED = 2, 1, 130  # exit statuses
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
JOB_COPY = "working_dir_files"  # part of the folder into which `ray job submit` unpacks --working-dir


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.option(
    "--data",
    "data",
    required=True,
    multiple=True,
    metavar="[ID=]FOLDER...",
    help="Footage, a talking-portrait folder that every node sees; several people: --data A B C. ID is the avatar's, "
    "by default the folder's name.",
)
@click.option(
    "--out", required=True, metavar="LIBRARY", help="Folder of avatars; a running server lists new ones within 5 s."
)
@click.option("--title", help="Display name, for one person [default: the id].")
@click.option(
    "--consent",
    multiple=True,
    metavar="[ID=]RECORD",
    help="synthetic, unconsented, or a JSON consent record; of one among several people: ID=RECORD "
    "[default: unconsented].",
)
@click.option(
    "--storage",
    metavar="FOLDER|URI",
    help="Checkpoints: a folder that every node sees, or s3://, gs://, any fsspec URI [default: LIBRARY/.runs].",
)
@click.option("--name", metavar="RUN", help="Name of the run in the storage; the same name goes on [default: the id].")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Workers that share the batch.")
@click.option("--cpus", type=float, help="CPUs of a worker [default: the cluster's, divided].")
@click.option(
    "--gpu-fraction", type=float, help="Share of a GPU for each person, 0.33 puts three on one [default: a whole one]."
)
@click.option(
    "--failures", type=click.IntRange(0), default=3, show_default=True, help="Falls of workers until a run gives up."
)
@click.option(
    "--refine/--no-refine",
    default=None,
    help="Make refiners too, as being fit-refiner does  [default: where training is on a GPU].",
)
@click.option("--restart", is_flag=True, help="Forget the checkpoints of this name.")
@click.option("--replace", is_flag=True, help="Overwrite avatars that are there.")
@click.option("--address", help="Ray cluster [default: the job's, else the running one, else one is started here].")
@fit_options
def main(
    data: tuple[str, ...],
    out: str,
    title: str | None,
    consent: tuple[str, ...],
    storage: str | None,
    name: str | None,
    workers: int,
    cpus: float | None,
    gpu_fraction: float | None,
    failures: int,
    refine: bool | None,
    restart: bool,
    replace: bool,
    address: str | None,
    **values: Any,
) -> None:
    """Train an avatar from each FOLDER of footage into LIBRARY, on a Ray cluster.

    Checkpoints go to the storage every minute (--checkpoint-every-s). A worker that dies is replaced and goes on from
    the last one; so does a job that was killed, when it is submitted again with the same --name and --storage. Ctrl-C
    stops at a whole step.

    \b
    One person on one GPU:
        ray job submit --working-dir . -- python train.py --data /footage/ada --out /avatars
    Four workers that share the batch of one person:
        ... train.py --data /footage/ada --out /avatars --workers 4 --batch 16
    Three people side by side on one GPU:
        ... train.py --data /footage/ada /footage/bob cy=/footage/take7 --out /avatars --gpu-fraction 0.33
    Checkpoints in a bucket:
        ... train.py --data /footage/ada --out /avatars --storage s3://bucket/runs --name ada-2
    Without a cluster, on this machine:
        python train.py --data footage --out avatars
    """
    config = config_of(values)
    people = [person_of(text) for text in data]
    library = place("--out", out)
    consents = consents_of(consent, [person for person, _ in people])
    if title is not None and len(people) > 1:
        raise InputError("--title names one person, --data several", "Leave it out; ids come from ID=FOLDER")
    if storage is None:
        storage = str(Path(library) / ".runs")
    elif "://" not in storage:
        storage = str(place("--storage", storage))
    if config.vgg is not None:
        config = config.model_copy(update={"vgg": config.vgg.resolve()})

    from being.dataset import Dataset
    from being.model.device import check_device_name
    from being.training.cluster.job import Cluster, Person, check_people

    check_device_name(config.device)
    chosen = [Person(id, folder, title, consents[id], refine) for id, folder in people]
    check_people(chosen, library, replace)
    for person in chosen:
        Dataset(person.footage)  # says what is wrong with it before Ray starts, which takes 20 s

    from being.training.cluster.ray import join_ray, train

    join_ray(address)
    cluster = Cluster(storage, name, workers, cpus, gpu_fraction, failures)
    with show_each([person.id for person in chosen]) as progress:
        outcomes = train(chosen, library, config, cluster, progress, restart=restart, replace=replace)
    for outcome in outcomes:
        if outcome.error is not None:
            complain(str(outcome.error))
        elif outcome.avatar is None:
            click.echo(f"{outcome.person.id}: stopped; the same command goes on from the last checkpoint")
        else:
            scores = ", ".join(f"{key} {value:.4g}" for key, value in outcome.metrics.items())
            click.echo(f"{outcome.avatar}: {scores or 'trained'} ({outcome.seconds:.0f} s)")
    if any(outcome.error for outcome in outcomes):
        sys.exit(FAILED)
    if any(outcome.avatar is None for outcome in outcomes):
        sys.exit(STOPPED)


def complain(text: str) -> None:
    """An error's one line, in the form of the command `being`."""
    click.echo(f"being: {text}", err=True)


def person_of(text: str) -> tuple[str, Path]:
    """(id, folder) of `ID=FOLDER` or `FOLDER`."""
    id, sign, folder = text.partition("=")
    if sign and ID.fullmatch(id):
        return id, Path(folder).resolve()
    path = Path(text).resolve()
    id = re.sub(r"[^a-z0-9_-]+", "-", path.name.lower()).strip("-_")[:64]
    if not ID.fullmatch(id):
        raise InputError(f"--data {text}: its name makes no id", "Write ID=FOLDER")
    return id, path


def consents_of(said: Sequence[str], ids: Sequence[str]) -> dict[str, ConsentRecord]:
    """Each person's record: its own, else the one said for all, else none."""
    found: dict[str, ConsentRecord] = {}
    for text in said:
        id, sign, record = text.partition("=")
        if sign and id in ids:
            found[id] = read_consent(record)
        else:
            found |= {other: read_consent(text) for other in ids if other not in found}
    return {id: found.get(id, ConsentRecord()) for id in ids}


def place(option: str, said: str) -> Path:
    """An absolute path; under `ray job submit` it must be said as one."""
    path = Path(said)
    if not path.is_absolute() and JOB_COPY in Path.cwd().parts:
        raise InputError(
            f"{option} {said} is relative, and a submitted job runs in a copy of the folder that is thrown away",
            f"Write {option} /the/whole/path",
        )
    return path.resolve()


def spread(arguments: Sequence[str]) -> list[str]:
    """`--data A B C` as `--data A --data B --data C`."""
    out: list[str] = []
    last = ""
    for argument in arguments:
        if argument.startswith("-"):
            last = argument
        elif last == "--data" and out and out[-1] != "--data":
            out.append("--data")
        elif last != "--data":
            last = ""
        out.append(argument)
    return out


if __name__ == "__main__":
    try:
        main(spread(sys.argv[1:]), prog_name="train.py", standalone_mode=False)
    except click.ClickException as problem:
        complain(f"{problem.format_message()} (see train.py --help)")
        sys.exit(USER_ERROR)
    except click.Abort:
        sys.exit(STOPPED)
    except BeingError as problem:
        complain(str(problem))
        sys.exit(USER_ERROR)
