"""What H.264 costs by setting: CPU time a frame and bits at equal quality, peaks, what a static background takes.

    python benchmarks/encoding.py --json encoding.json --plot encoding.png
    python benchmarks/encoding.py --pictures FOLDER       # your own frames, PNG or JPEG in the order of their names

The avatar speaks and is drawn to 4:2:0 planes, which are kept as they are: no film that was coded before. Every setting
encodes them at several rate factors, all settings in turn and several times over, so that what else the machine does
falls on all alike. Times, bits and peaks are then read at the quality that `VideoSettings()` has (PSNR of the luma
over what moves), between the measured rate factors. The ratios to it are the result; the times belong to the machine.

VMAF is measured where `vmaf-torch` can be imported (it holds Netflix' model v0.6.1), of a second of frames.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import numpy.typing as npt
from encoding_candidates import CANDIDATES, WITH_VMAF, Candidate, live_candidate
from ingress_cpu import drawn
from machine import facts
from scipy.ndimage import gaussian_filter, minimum_filter

from being.constants import FPS
from being.media.contract import StreamFormat
from being.media.video_encoder import VideoSettings
from being.media.video_frame import PlaneFiller

Planes = npt.NDArray[np.uint8]  # (frames, 3 H / 2, W)

FACTORS = (17, 20, 23, 26, 29)
PEAK_FRAMES = FPS // 5  # 200 ms
STILL = 0.5  # standard deviation over time up to which a pixel stands still
VMAF_FRAMES = 5
SSIM_EVERY = 10  # frames
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # of SSIM
LIVE = "as `being` streams"


@dataclass
class Measured:
    """One encode of all frames. Sizes in bytes, CPU in seconds."""

    cpu: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    pictures: Planes = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))

    @property
    def ms(self) -> float:
        return 1000 * statistics.median(self.cpu) / len(self.sizes)

    @property
    def kbit_s(self) -> float:
        return 8 * sum(self.sizes) * FPS / len(self.sizes) / 1000

    @property
    def peak_kbit(self) -> float:
        """Most in any 200 ms after the stream's first key frame."""
        later = np.convolve(self.sizes[PEAK_FRAMES:], np.ones(PEAK_FRAMES), "valid")
        return float(8 * later.max() / 1000)


def encoded(planes: Planes, candidate: Candidate, factor: int | None, *, decode: bool) -> Measured:
    """All frames through one new encoder; `factor` None: the candidate's own rate control."""
    height, width = planes.shape[1] * 2 // 3, planes.shape[2]
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(FPS), Fraction(1, FPS)
    context.thread_count = candidate.threads
    context.gop_size = 1 << 20
    still = {"bf": "0", "forced-idr": "1", "sc_threshold": "0"}
    level = {"level": "5.1"}  # that no size is refused
    context.options = still | level | candidate.options | ({"crf": str(factor)} if factor is not None else {})
    context.open()
    filler = PlaneFiller(StreamFormat(width, height))
    measured, packets, cpu = Measured(), [], 0.0
    for number, picture in enumerate(planes):
        frame = filler(picture, number)
        if number == 0 or (candidate.key_every and number % candidate.key_every == 0):
            frame.pict_type = av.video.frame.PictureType.I
        before = time.process_time()
        made = context.encode(frame)
        cpu += time.process_time() - before
        packets += made
    packets += context.encode(None)
    measured.cpu.append(cpu)
    measured.sizes = [packet.size for packet in packets]
    if decode:
        decoder = av.CodecContext.create("h264", "r")
        frames = [frame for packet in packets for frame in decoder.decode(av.Packet(bytes(packet)))]
        frames += decoder.decode(None)
        measured.pictures = np.stack([frame.to_ndarray()[:height] for frame in frames])
    return measured


def psnr(planes: Planes, pictures: Planes, mask: npt.NDArray[np.bool_] | None = None) -> float:
    """Of the luma in decibels, over all frames as one signal."""
    error = planes[:, : pictures.shape[1]].astype(np.int16) - pictures
    chosen = error[:, mask] if mask is not None else error
    return float(10 * np.log10(255**2 / np.mean(chosen.astype(np.float32) ** 2)))


def ssim(planes: Planes, pictures: Planes) -> float:
    """Of the luma, mean over every tenth frame (Wang et al. 2004: windows of Gaussian weight, sigma 1.5)."""
    found = []
    for truth, made in zip(planes[::SSIM_EVERY], pictures[::SSIM_EVERY], strict=True):
        x, y = truth[: len(made)].astype(np.float32), made.astype(np.float32)
        mean_x, mean_y, xx, yy, xy = (gaussian_filter(one, 1.5) for one in (x, y, x * x, y * y, x * y))
        contrast = (2 * (xy - mean_x * mean_y) + C2) / (xx - mean_x**2 + yy - mean_y**2 + C2)
        found.append(((2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1) * contrast).mean())
    return float(np.mean(found))


def vmaf(planes: Planes, pictures: Planes) -> float | None:
    """Mean VMAF of the frames in the middle; None where vmaf-torch is missing."""
    if importlib.util.find_spec("vmaf_torch") is None:
        return None
    import torch
    from vmaf_torch import VMAF  # type: ignore[import-not-found, unused-ignore]

    middle = slice(len(planes) // 2, len(planes) // 2 + VMAF_FRAMES)
    of_luma = (torch.from_numpy(part[middle].astype(np.float32))[:, None] for part in (planes, pictures))
    height = pictures.shape[1]
    with torch.no_grad():
        reference, distorted = (part[:, :, :height] for part in of_luma)
        return float(VMAF()(reference, distorted).mean())


@click.command()
@click.option("--avatar", default="demo", show_default=True)
@click.option("--size", default=512, show_default=True, help="Side of the picture.")
@click.option(
    "--pictures", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Frames, not an avatar."
)
@click.option("--frames", default=250, show_default=True, help="At most; the speech is 118 frames, played to and fro.")
@click.option("--rounds", default=3, show_default=True, help="The median of their CPU times counts.")
@click.option("--only", multiple=True, help="Settings whose name contains this; may be repeated.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
@click.option("--plot", type=click.Path(path_type=Path), help="Quality against bits and CPU time (needs matplotlib).")
def main(
    avatar: str,
    size: int,
    pictures: Path | None,
    frames: int,
    rounds: int,
    only: tuple[str, ...],
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Measure the settings of H.264."""
    said = (
        _read(pictures)
        if pictures is not None
        else np.stack([record.image for record in drawn(avatar, size)[1] if record.image is not None])
    )
    planes = np.concatenate([said, said[::-1]] * (frames // (2 * len(said)) + 1))[:frames]
    height, width = planes.shape[1] * 2 // 3, planes.shape[2]
    candidates = {LIVE: live_candidate(StreamFormat(width, height))} | CANDIDATES
    candidates = {
        name: one for name, one in candidates.items() if not only or name == LIVE or any(p in name for p in only)
    }
    still = planes[:, :height].astype(np.float32).std(axis=0) <= STILL
    click.echo(f"{len(planes)} frames of {width}x{height}, {100 * still.mean():.0f} % of the pixels stand still")
    results = _swept(planes, candidates, rounds, ~still)
    rows = {name: _at_equal_quality(points, results[LIVE]) for name, points in results.items()}
    _table(rows)
    background = {
        name: _background(planes, still, candidates[name])
        for name in (LIVE, "superfast", "ultrafast")
        if name in candidates
    }
    for name, found in background.items():
        click.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
    capped = _capped(planes, candidates[LIVE])
    for row in capped:
        click.echo(
            f"at most {row['maxrate_kbit_s']} kbit/s: {row['kbit_s']} kbit/s, peak {row['peak_200ms_kbit']} kbit, "
            f"{row['psnr']} dB"
        )
    report = {
        "command": " ".join(["python", *sys.argv]),
        "machine": facts(),
        "frames": len(planes),
        "size": f"{width}x{height}",
        "still_share": round(float(still.mean()), 3),
        "vmaf": importlib.util.find_spec("vmaf_torch") is not None,
        "options": {
            name: {"x264": one.options, "threads": one.threads, "key_every": one.key_every}
            for name, one in candidates.items()
        },
        "points": results,
        "at_the_quality_of_the_first": rows,
        "background": background,
        "vbv": capped,
    }
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n")
    if plot is not None:
        _plot(results, plot)


Point = dict[str, Any]


def _swept(
    planes: Planes, candidates: dict[str, Candidate], rounds: int, moving: npt.NDArray[np.bool_]
) -> dict[str, list[Point]]:
    kept: dict[tuple[str, int], Measured] = {}
    points: dict[str, list[Point]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for factor in FACTORS:
            for name, candidate in candidates.items():
                measured = encoded(planes, candidate, factor, decode=turn == 0)
                if turn:
                    kept[name, factor].cpu += measured.cpu
                    continue
                point: Point = {
                    "crf": factor,
                    "psnr": psnr(planes, measured.pictures),
                    "psnr_moving": psnr(planes, measured.pictures, moving),
                    "ssim_db": -10 * float(np.log10(1 - ssim(planes, measured.pictures))),
                }
                if name in (LIVE, *WITH_VMAF) and (score := vmaf(planes, measured.pictures)):
                    point["vmaf"] = score
                points[name].append(point)
                measured.pictures = measured.pictures[:0]
                kept[name, factor] = measured
        click.echo(f"round {turn + 1} of {rounds}", err=True)
    for name, of_name in points.items():
        for point in of_name:
            measured = kept[name, point["crf"]]
            point |= {"ms": measured.ms, "kbit_s": measured.kbit_s, "peak_200ms_kbit": measured.peak_kbit}
    return {name: [_rounded(point) for point in of_name] for name, of_name in points.items()}


def _at_equal_quality(points: list[Point], live: list[Point]) -> dict[str, Any]:
    """Between the measured rate factors, where what moves is as good as the live default's; empty where it never is."""
    own = next(point for point in live if point["crf"] == VideoSettings().quality)
    names = ("crf", "ms", "kbit_s", "peak_200ms_kbit", "psnr")
    if (found := _where(points, "psnr_moving", own["psnr_moving"], names)) is None:
        return {}
    found |= {f"{name}_ratio": found[name] / own[name] for name in ("ms", "kbit_s")}
    for other in ("ssim_db", "vmaf"):
        if all(other in point for point in points) and (at := _where(points, other, own[other], ("kbit_s",))):
            found[f"kbit_s_ratio_at_equal_{other}"] = at["kbit_s"] / own["kbit_s"]
    return _rounded(found)


def _where(points: list[Point], quality: str, value: float, names: Sequence[str]) -> dict[str, float] | None:
    """`names` where `quality` is `value`, read between the points on a logarithmic scale."""
    ordered = sorted(points, key=lambda point: point[quality])
    reached = [point[quality] for point in ordered]
    if not reached[0] <= value <= reached[-1]:
        return None
    return {
        name: float(np.exp(np.interp(value, reached, [np.log(point[name]) for point in ordered]))) for name in names
    }


def _background(planes: Planes, still: npt.NDArray[np.bool_], candidate: Candidate) -> dict[str, Any]:
    """Bytes of whole macroblocks that stand still: the same film with them in one grey takes so much less."""
    height, width = planes.shape[1] * 2 // 3, planes.shape[2]
    blocks = still[: height // 16 * 16, : width // 16 * 16].reshape(height // 16, 16, width // 16, 16).all((1, 3))
    apart = minimum_filter(blocks, 3, mode="nearest")  # not a neighbour of what moves, whose motion vectors may reach
    still = np.zeros_like(still)
    still[: height // 16 * 16, : width // 16 * 16] = apart.repeat(16, 0).repeat(16, 1)
    bare = planes.copy()
    bare[:, :height][:, still] = 128
    halves = still[::2, ::2].reshape(-1)
    bare[:, height:].reshape(len(planes), 2, -1)[:, :, halves] = 128
    factor = VideoSettings().quality
    whole, without = (np.array(encoded(film, candidate, factor, decode=False).sizes) for film in (planes, bare))
    paused = np.array(encoded(np.repeat(planes[:1], len(planes), 0), candidate, factor, decode=False).sizes)
    key = np.zeros(len(planes), bool)
    key[:: candidate.key_every or len(planes)] = True
    return {
        "share_of_picture": round(float(still.mean()), 2),
        "key_frame_bytes": round(float(whole[key].mean())),
        "of_which_background": round(float((whole - without)[key].mean())),
        "other_frame_bytes": round(float(whole[~key].mean())),
        "of_which_background_too": round(float((whole - without)[~key].mean())),
        "other_frame_bytes_of_a_paused_avatar": round(float(paused[~key].mean())),
    }


def _capped(planes: Planes, candidate: Candidate) -> list[Point]:
    """Rate factor with a bound (VBV of half a second), as a network that asks for less gets it."""
    rows = []
    for kbit_s in (800, 400, 250, 150):
        options = VideoSettings(bit_rate=1000 * kbit_s).options("3.1")
        measured = encoded(planes, Candidate(options, key_every=candidate.key_every), None, decode=True)
        row = {"maxrate_kbit_s": kbit_s, "kbit_s": measured.kbit_s, "peak_200ms_kbit": measured.peak_kbit}
        rows.append(_rounded(row | {"psnr": psnr(planes, measured.pictures)}))
    return rows


def _read(folder: Path) -> Planes:
    files = sorted(
        (file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg")),
        key=lambda file: (len(file.stem), file.stem),
    )
    planes = []
    for file in files:
        with av.open(str(file)) as container:
            frame = next(container.decode(video=0))
            planes.append(frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1).to_ndarray())
    return np.stack(planes)


def _rounded(point: Point) -> Point:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in point.items()}


def _table(rows: dict[str, dict[str, Any]]) -> None:
    click.echo(
        f"{'at equal PSNR of what moves':28} {'CPU ms':>7} {'ratio':>6} {'kbit/s':>7} {'ratio':>6} "
        f"{'SSIM':>6} {'VMAF':>6} {'peak kbit':>9} {'PSNR':>6} {'crf':>5}"
    )
    for name, row in rows.items():
        if not row:
            click.echo(f"{name:28} never as good or never as bad")
            continue
        same = (row.get(f"kbit_s_ratio_at_equal_{other}") for other in ("ssim_db", "vmaf"))
        ssim_ratio, vmaf_ratio = (f"{ratio:.2f}" if ratio is not None else "-" for ratio in same)
        click.echo(
            f"{name:28} {row['ms']:7.2f} {row['ms_ratio']:6.2f} {row['kbit_s']:7.0f} {row['kbit_s_ratio']:6.2f} "
            f"{ssim_ratio:>6} {vmaf_ratio:>6} {row['peak_200ms_kbit']:9.0f} {row['psnr']:6.2f} {row['crf']:5.1f}"
        )


def _plot(results: dict[str, list[Point]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.5), sharey=True)
    colours = pyplot.get_cmap("tab20")
    for number, (name, points) in enumerate(results.items()):
        thick = {"linewidth": 3, "color": "black", "zorder": 5} if name == LIVE else {"color": colours(number % 20)}
        for axis, across in zip(axes, ("kbit_s", "ms"), strict=True):
            axis.plot(
                [p[across] for p in points], [p["psnr_moving"] for p in points], "o-", markersize=3, label=name, **thick
            )
    axes[0].set(xlabel="kbit/s", ylabel="PSNR of the luma of what moves, dB", xscale="log")
    axes[1].set(xlabel="CPU ms a frame")
    axes[1].legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
