"""Pictures of what `load.py` measured: latencies over time, and what grows with the number of sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from live_client import FPS
from load_clients import LATE_MS

LEGEND_LINES = 8  # more sessions than this have no name in the plot
COLOURS = {
    "ingress": "tab:blue",
    "renderer": "tab:orange",
    "encoder": "tab:green",
    "refiner": "tab:olive",
    "proxy": "tab:purple",
    "sessions": "tab:pink",
    "rest of ray": "tab:brown",
    "client": "0.75",
    "others": "0.9",
}
RAY = ("controller", "gcs", "raylet")


def over_time(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Latency of each session's frames in the order they were shown, and how they spread."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    figure, (lines, spread) = pyplot.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1), sharey=True)
    for title, curve in curves.items():
        lines.plot(np.arange(len(curve)) / FPS, curve, linewidth=0.8, label=title)
    spread.hist(
        np.concatenate([np.asarray(curve) for curve in curves.values()]), 60, orientation="horizontal", color="0.4"
    )
    lines.axhline(LATE_MS, color="tab:red", linewidth=0.8, linestyle="--")
    lines.set(xlabel="seconds", ylabel="sound sent to frame received, ms", ylim=(0, None))
    if len(curves) <= LEGEND_LINES:
        lines.legend(loc="upper right", fontsize="small")
    spread.set(xlabel="frames")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def over_sessions(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Latency, distinct frames, CPU by process and GPU of runs with more and more sessions; crosses do not hold."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    runs = sorted((one for one in runs if one["together"]), key=lambda one: one["asked"])
    if not runs:
        return
    asked = [one["asked"] for one in runs]
    figure, (latency, frames, cpu) = pyplot.subplots(1, 3, figsize=(15, 4.2))
    for axis in (latency, frames):
        axis.xaxis.get_major_locator().set_params(integer=True)
    for name, style in (("p50", "o-"), ("p95", "s-"), ("p99", "^-")):
        latency.plot(asked, [one["together"][name] for one in runs], style, markersize=4, label=name)
    failed = [one for one in runs if not one["holds"]]
    latency.plot([one["asked"] for one in failed], [one["together"]["p95"] for one in failed], "rx", markersize=11)
    bound = runs[-1]["bounds"]["p95_ms"]
    if bound is not None:
        latency.axhline(bound, color="tab:red", linewidth=0.8, linestyle="--")
    latency.set(xlabel="sessions", ylabel="sound sent to frame received, ms", ylim=(0, None))
    latency.legend()

    frames.plot(
        asked, [one["together"]["least_distinct_per_s"] for one in runs], "o-", label="the slowest session", zorder=3
    )
    frames.plot(asked, [one["together"]["mean_distinct_per_s"] for one in runs], "s-", label="mean")
    frames.axhline(runs[-1]["bounds"]["distinct_per_s"], color="tab:red", linewidth=0.8, linestyle="--")
    frames.set(xlabel="sessions", ylabel="distinct frames a second", ylim=(0, FPS + 1))
    frames.legend(loc="lower left")

    places, bottom = np.arange(len(runs)), np.zeros(len(runs))
    for row, colour in COLOURS.items():
        titles = (row, *RAY) if row == "rest of ray" else (row,)
        of_runs = (one["meanwhile"]["cpu_ms_per_s"] for one in runs)
        cores = np.array([sum(used.get(title, 0.0) for title in titles) / 1000 for used in of_runs])
        if cores.any():
            cpu.bar(places, cores, bottom=bottom, label=row, color=colour)
            bottom += cores
    cpu.set_xticks(places, [str(number) for number in asked])
    cpu.set(xlabel="sessions", ylabel="cores")
    handles, labels = cpu.get_legend_handles_labels()
    busy = [one["meanwhile"].get("gpu_percent") for one in runs]
    if any(one is not None for one in busy):
        gpu = cpu.twinx()
        gpu.plot(places, busy, "kD--", markersize=4, label="GPU")
        gpu.set(ylabel="GPU busy, per cent of the time", ylim=(0, 100))
        more = gpu.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    cpu.legend(handles, labels, loc="upper left", fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
