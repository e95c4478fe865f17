"""Every file of a talking-portrait folder opened once, and everything wrong with it said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from being.constants import FPS, SAMPLE_RATE
from being.dataset.folder import Dataset
from being.dataset.sound import sound_path
from being.errors import BeingError, FormatError, InputError

SHOWN = 5  # problems spelled out in the error; the rest are counted
SOUND_TOLERANCE_S = 0.5  # cameras and recorders stop at different moments


def find_problems(dataset: Dataset, workers: int = 4, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Decode every picture, mask and landmark file, the plate and the sound; return one line a problem.

    `progress(done, total)` is called after every frame.
    """
    problems = [*_problems_of([lambda: dataset.background, lambda: dataset.audio])]
    if not problems:
        short = dataset.frames / FPS - len(dataset.audio) / SAMPLE_RATE
        if short > SOUND_TOLERANCE_S:
            problems.append(f"{sound_path(dataset.path)} ends {short:.1f} s before the pictures do")

    def check(index: int) -> list[str]:
        readers = [dataset.image, dataset.composited, dataset.parsing, dataset.landmarks]
        if dataset.has_mattes:
            readers.append(dataset.alpha)
        return list(_problems_of([partial(reader, index) for reader in readers]))

    with ThreadPoolExecutor(workers) as pool:
        for done, found in enumerate(pool.map(check, range(dataset.frames)), start=1):
            problems += found
            if progress is not None:
                progress(done, dataset.frames)
    return list(dict.fromkeys(problems))


def validate(path: str | Path, workers: int = 4, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Open the folder and check all of it. Returns the dataset, or raises FormatError with what is wrong."""
    dataset = Dataset(path)
    problems = find_problems(dataset, workers, progress)
    if problems:
        rest = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise FormatError("; ".join(problems[:SHOWN]) + rest, "Copy the folder again or capture the video again")
    return dataset


def _problems_of(readers: Iterable[Callable[[], object]]) -> Iterable[str]:
    for reader in readers:
        try:
            reader()
        except (FormatError, InputError) as error:
            yield error.problem
        except OSError as error:
            yield str(BeingError(f"{error.filename}: {error.strerror}"))
