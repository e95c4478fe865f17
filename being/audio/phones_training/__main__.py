"""``python -m being.audio.phones_training``: corpus, training, evaluation, in one go."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click


@click.command()
@click.option("--hours", default=6.0, show_default=True, help="Hours of speech to make.")
@click.option("--minutes-train", default=3.0, show_default=True, help="Wall-clock limit of the training.")
@click.option("--steps", default=20_000, show_default=True, help="Limit of the optimiser's steps.")
@click.option("--batch", default=128, show_default=True, help="Stretches of 3 s in a step.")
@click.option("--learning-rate", default=2e-3, show_default=True, help="At its highest.")
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="Weights to go on from (refining).")
@click.option("--minutes-evaluate", default=10.0, show_default=True, help="Minutes of held-out speech to score.")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="Processes that speak.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ...")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The weights, safetensors.")
@click.option("--report", type=click.Path(path_type=Path), help="Scores on held-out voices, JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Confusion matrix, PNG (needs matplotlib).")
def main(
    hours: float,
    minutes_train: float,
    steps: int,
    batch: int,
    learning_rate: float,
    start: Path | None,
    minutes_evaluate: float,
    workers: int,
    device: str,
    seed: int,
    out: Path,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Remake the weights of `phones`. Needs libespeak-ng."""
    import torch

    from being.audio.phones import Phones
    from being.audio.phones_training.corpus import make_corpus
    from being.audio.phones_training.evaluation import evaluate, plot_confusion, summary
    from being.audio.phones_training.loop import TrainingConfig, train

    started = time.monotonic()

    def tell(line: str) -> None:
        click.echo(f"[{time.monotonic() - started:6.1f} s] {line}")

    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    tell(f"making {hours:g} hours of speech with {workers} processes")
    corpus = make_corpus(hours, cast="training", seed=seed, workers=workers, progress=tell)
    tell(f"{corpus.hours:.2f} hours by {len(corpus.voices)} voices; training on {chosen}")
    config = TrainingConfig(minutes=minutes_train, steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    train(corpus, config, chosen, start=start, progress=tell).save(out)
    tell(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")
    result = evaluate(Phones(out), minutes_evaluate, workers)
    click.echo(summary(result))
    if report:
        facts = {"hours": round(corpus.hours, 3), "voices": len(corpus.voices), "seconds": time.monotonic() - started}
        report.write_text(json.dumps(facts | result, indent=1) + "\n")
    if plot:
        plot_confusion(result["scores"]["speakers, clean"]["confusion"], plot, "Held-out speakers, % of steps")
    tell("done")


if __name__ == "__main__":
    main()
