"""How well `phones` hears voices it never heard: accuracy, lip closures, silence; a JSON report and a confusion matrix.

python -m being.audio.phones_training.evaluation --minutes 10 --report report.json --plot confusion.png
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from being.audio.phones import ARTICULATORS, WEIGHTS, Phones
from being.audio.phones_training.corpus import Corpus, make_corpus
from being.audio.phones_training.voices import HELD_OUT_LANGUAGES, HELD_OUT_VARIANTS, Cast
from being.audio.visemes import VISEMES
from being.constants import SAMPLE_RATE

_CLOSED = VISEMES.index("PP")
_SILENT = VISEMES.index("sil")
_ROW_S = 20  # seconds distorted alike
_SEED = 20_260_000  # of the evaluation corpora, far from any training seed


def evaluate(phones: Phones, minutes: float, workers: int) -> dict[str, Any]:
    """Scores by who speaks and how it was recorded; each as score() returns it."""
    report: dict[str, Any] = {
        "held_out_variants": list(HELD_OUT_VARIANTS),
        "held_out_languages": list(HELD_OUT_LANGUAGES),
        "scores": {},
    }
    casts: tuple[Cast, ...] = ("speakers", "languages")
    for cast in casts:
        corpus = make_corpus(minutes / 120.0, cast=cast, seed=_SEED, workers=workers, progress=lambda line: None)
        report[f"voices of {cast}"] = list(corpus.voices)
        for condition in ("clean", "any level", "distorted"):
            pcm = _recorded(corpus, condition)
            report["scores"][f"{cast}, {condition}"] = score(phones(pcm), corpus.targets.astype(np.float32) / 255.0)
    return report


def _recorded(corpus: Corpus, condition: str) -> NDArray[np.float32]:
    """The corpus as it is, at random levels, or through the distortions of training."""
    pcm = corpus.pcm.astype(np.float32) / 32767.0
    if condition == "clean":
        return pcm
    import torch

    from being.audio.phones_training.augment import augment, level_only

    rows = torch.from_numpy(np.pad(pcm, (0, -len(pcm) % (_ROW_S * SAMPLE_RATE)))).reshape(-1, _ROW_S * SAMPLE_RATE)
    distort = level_only if condition == "any level" else augment
    generator = torch.Generator().manual_seed(_SEED)
    parts = [distort(rows[k : k + 8], generator) for k in range(0, len(rows), 8)]
    return torch.cat(parts).reshape(-1)[: len(pcm)].numpy()


def score(answers: NDArray[np.float32], targets: NDArray[np.float32]) -> dict[str, Any]:
    """answers, targets (n, WIDTH) -> metrics.

    ``accuracy``: steps whose most probable viseme is the one that fills most of the step; ``speech_accuracy``: among
    steps of speech; ``settled_accuracy``: among steps of speech that one viseme fills by 80%. A closure is a run of
    steps of which p, b or m fills 30%; it is recalled if one of its steps is answered so. The precision of closures
    counts the answered runs that touch such a step, or the step beside it.
    """
    visemes = len(VISEMES)
    share, wanted = targets[:, :visemes], targets[:, :visemes].argmax(axis=1)
    heard = answers[:, :visemes].argmax(axis=1)
    right = heard == wanted
    speech = wanted != _SILENT
    settled = speech & (share.max(axis=1) > 0.8)

    closed = share[:, _CLOSED] > 0.3
    answered = heard == _CLOSED
    near = np.convolve(share[:, _CLOSED] > 0.05, [1, 1, 1], mode="same") > 0
    confusion = np.zeros((visemes, visemes))
    np.add.at(confusion, (wanted, heard), 1.0)
    # Silence that has lasted: beyond the reach of the phone before.
    quiet = np.convolve(share[:, _SILENT] < 0.99, np.ones(21), mode="same") == 0
    errors = np.abs(answers[:, visemes:] - targets[:, visemes:]).mean(axis=0)
    return {
        "steps": len(wanted),
        "accuracy": _mean(right),
        "speech_accuracy": _mean(right[speech]),
        "settled_accuracy": _mean(right[settled]),
        "closure_recall": _touched(closed, answered),
        "closure_precision": _touched(answered, near),
        "closure_step_recall": _mean(answered[wanted == _CLOSED]),
        "closure_step_precision": _mean(wanted[answered] == _CLOSED),
        "lips_open_in_silence": float(answers[quiet, visemes + ARTICULATORS.index("lips_open")].mean()),
        "lips_open_correlation": _correlation(answers, targets, "lips_open"),
        "jaw_correlation": _correlation(answers, targets, "jaw"),
        "round_correlation": _correlation(answers, targets, "lips_round"),
        "spread_correlation": _correlation(answers, targets, "lips_spread"),
        "articulator_errors": {name: round(float(e), 4) for name, e in zip(ARTICULATORS, errors, strict=True)},
        "recall": {v: _mean(right[wanted == k]) for k, v in enumerate(VISEMES)},
        "precision": {v: _mean(right[heard == k]) for k, v in enumerate(VISEMES)},
        "confusion": confusion.astype(int).tolist(),
    }


def _mean(x: NDArray[Any]) -> float:
    return round(float(x.mean()), 4) if len(x) else float("nan")


def _touched(runs: NDArray[np.bool_], marks: NDArray[np.bool_]) -> float:
    """Share of the runs of True in ``runs`` that hold a True of ``marks``."""
    edges = np.diff(np.concatenate([[0], runs.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    count = np.concatenate([[0], np.cumsum(marks)])
    return _mean(count[ends] > count[starts])


def _correlation(answers: NDArray[np.float32], targets: NDArray[np.float32], name: str) -> float:
    k = len(VISEMES) + ARTICULATORS.index(name)
    return round(float(np.corrcoef(answers[:, k], targets[:, k])[0, 1]), 4)


def plot_confusion(confusion: list[list[int]], path: Path, title: str) -> None:
    """Rows: what was said; columns: what was heard; each row adds up to 1."""
    from matplotlib.figure import Figure

    counts = np.array(confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.argwhere(shares >= 0.03):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(VISEMES)), VISEMES)
    axes.set_yticks(range(len(VISEMES)), VISEMES)
    axes.set(xlabel="heard", ylabel="said", title=title)
    figure.savefig(path, dpi=110)


def summary(report: dict[str, Any]) -> str:
    """One line a condition."""
    keys = ("accuracy", "speech_accuracy", "closure_recall", "closure_precision", "jaw_correlation")
    return "\n".join(
        f"{name:24s}" + "  ".join(f"{key} {scores[key]:.3f}" for key in keys)
        for name, scores in report["scores"].items()
    )


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), default=WEIGHTS, show_default=True)
@click.option("--minutes", default=10.0, show_default=True, help="Minutes of held-out speech.")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True)
@click.option("--report", type=click.Path(path_type=Path), help="Write the scores as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the confusion matrix as PNG.")
def main(weights: Path, minutes: float, workers: int, report: Path | None, plot: Path | None) -> None:
    """Score `phones` on voices and languages that were held out of its training."""
    result = evaluate(Phones(weights), minutes, workers)
    click.echo(summary(result))
    if report:
        report.write_text(json.dumps(result, indent=1) + "\n")
    if plot:
        plot_confusion(result["scores"]["speakers, clean"]["confusion"], plot, "Held-out speakers, % of steps")


if __name__ == "__main__":
    main()
