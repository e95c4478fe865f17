"""What LoRAs of avatars cost: live, rows with one each beside rows with none; and a step of training one.

    python benchmarks/refine_loras.py --json refine_loras.json           # full-size random weights, on the GPU
    python benchmarks/refine_loras.py --device cpu --model FOLDER --autoencoder FOLDER/taesd --size 64 --batch 2

Random weights cost what trained ones cost. Medians, as `benchmarks/refine.py`. Rows "with LoRAs" alternate between two
people. Beside the times: how far rows are from the same LoRA merged into the weights, and whether changing one row,
picture and LoRA, changes a bit of another.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from refine import Bench, memory, rows_of

from being.avatar.folder import load_avatar, save_avatar
from being.avatar.library import PACKAGED, Library
from being.model.device import device_of
from being.progress import Silent
from being.refine.contract import Conditions
from being.refine.streamdiffusion import load
from being.refine.streamdiffusion.avatar_lora import FILE, AvatarLora, LoraFacts, base_of, save_avatar_lora
from being.refine.streamdiffusion.faces import face_plane
from being.refine.streamdiffusion.loading import load_weights
from being.refine.streamdiffusion.lora_layout import LoraLayout
from being.refine.streamdiffusion.refiner import StreamDiffusionRefiner
from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.training.loop import Stop
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.config import LoraConfig
from being.training.refiner.lora.face_crops import FaceCropSampler, LiveFace
from being.training.refiner.lora.fit import frozen_weights
from being.training.refiner.lora.loop import train_lora
from being.training.refiner.pairs import Pairs

PEOPLE = ("first", "second")
STEPS = 20


@click.command(help=__doc__)
@click.option("--device", default="auto", show_default=True)
@click.option("--model", default="random", show_default=True, help="As the refiner's option.")
@click.option("--autoencoder", default="madebyollin/taesd", show_default=True)
@click.option("--size", default=512, show_default=True)
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 8), show_default=True)
@click.option("--turns", default=30, show_default=True, help="Calls a median is taken of.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here, after each of them.")
def main(
    device: str,
    model: str,
    autoencoder: str,
    size: int,
    batches: tuple[int, ...],
    turns: int,
    path: Path | None,
) -> None:
    """See the module."""
    bench = Bench(device_of(device), path, turns)
    options = {"model": model, "autoencoder": autoencoder, "through": "direct", "sizes": (size,), "batches": batches}
    settings = StreamDiffusionSettings.model_validate(options)
    live(bench, options, settings)
    memory(bench.device, reset=True)
    bench.part("training", lambda: trained(bench, settings, size))


def live(bench: Bench, options: dict[str, Any], settings: StreamDiffusionSettings) -> None:
    """Three copies of the demo avatar, two of them with LoRAs."""
    size = settings.sizes[0]
    with tempfile.TemporaryDirectory() as folder:
        plain = refiner_of(bench, options, Library([PACKAGED]))
        for name in ("demo", *PEOPLE):
            avatar = load_avatar(PACKAGED / "demo")
            avatar = replace(avatar, manifest=avatar.manifest.model_copy(update={"id": name, "files": {}}))
            extra = {} if name == "demo" else {FILE: random_lora(Path(folder) / f".{name}", plain, settings, name)}
            save_avatar(avatar, Path(folder) / name, extra=extra)
        adapting = refiner_of(bench, options, Library([folder]))
        for person in ("demo", *PEOPLE):
            adapting.prepare(person)
        who = {"with LoRAs": PEOPLE, "half of them": ("demo", *PEOPLE), "none of them": ("demo",)}
        for count in settings.batches:
            bench.part("no LoRA anywhere", partial(refined, bench, plain, size, count, ("demo",)))
            for name, people in who.items():
                bench.part(name, partial(refined, bench, adapting, size, count, people))
        bench.note(part="memory while refining", **memory(bench.device, reset=True))
        own = {"first": {"file": str(Path(folder) / "first" / FILE)}}
        merged = refiner_of(bench, {**options, "identities": own}, Library([folder]))
        bench.part("against merged weights", partial(against_merged, adapting, merged, size))
        bench.part("rows apart", partial(mixing, adapting, size, settings.batches[-1]))


def refiner_of(bench: Bench, options: dict[str, Any], library: Library) -> StreamDiffusionRefiner:
    begun = time.perf_counter()
    refiner = load(options, library, bench.device)
    assert isinstance(refiner, StreamDiffusionRefiner)
    bench.note(part="load and record", took_s=round(time.perf_counter() - begun, 1), **memory(bench.device))
    return refiner


def random_lora(path: Path, refiner: StreamDiffusionRefiner, settings: StreamDiffusionSettings, name: str) -> Path:
    """As large as a trained one's changes are."""
    layout = LoraLayout(refiner.network().denoiser, settings.lora_rank)
    random = torch.Generator().manual_seed(len(name))
    factors = {
        layer: (
            torch.randn(layout.rank, inside, generator=random) / inside**0.5,
            0.02 * torch.randn(outside, layout.rank, generator=random),
        )
        for layer, (inside, outside) in layout.layers.items()
    }
    device, dtype = refiner.network().device, refiner.network().dtype
    base = base_of(load_weights(settings, device, dtype), settings)
    save_avatar_lora(path, AvatarLora(LoraFacts(rank=layout.rank, base=base), factors))
    return path


def rows(refiner: StreamDiffusionRefiner, size: int, count: int, people: tuple[str, ...]) -> Any:
    names = tuple(people[row % len(people)] for row in range(count))
    if len(people) == 3:  # every second row is somebody's without one
        names = tuple("demo" if row % 2 == 0 else PEOPLE[row // 2 % 2] for row in range(count))
    return replace(rows_of(refiner, size, count), avatars=names)


@torch.inference_mode()
def refined(
    bench: Bench, refiner: StreamDiffusionRefiner, size: int, count: int, people: tuple[str, ...]
) -> dict[str, Any]:
    crops = torch.rand(count, 3, size, size, device=bench.device)
    conditions = Conditions(torch.ones(count, 1, size, size, device=bench.device))
    whose = rows(refiner, size, count, people)
    return {"size": size, "batch": count, **bench.timed(lambda: refiner.refine(crops, conditions, whose))}


@torch.inference_mode()
def against_merged(adapting: StreamDiffusionRefiner, merged: StreamDiffusionRefiner, size: int) -> dict[str, Any]:
    """One crop by factors, by merged weights and without: mean absolute differences."""
    device = adapting.network().device
    crops = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    conditions = Conditions(torch.ones_like(crops[:, :1]))
    whose = rows(adapting, size, 1, ("first",))
    made, expected = (one.refine(crops, conditions, whose).clone() for one in (adapting, merged))
    plain = merged.refine(crops, conditions, replace(whose, avatars=("demo",)))
    return {"difference": float((made - expected).abs().mean()), "change": float((plain - expected).abs().mean())}


@torch.inference_mode()
def mixing(refiner: StreamDiffusionRefiner, size: int, count: int) -> dict[str, Any]:
    """How many rows change by a bit where the last one's picture and LoRA do."""
    device = refiner.network().device
    crops = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    conditions = Conditions(torch.ones_like(crops[:, :1]))
    whose = rows(refiner, size, count, PEOPLE)
    before = refiner.refine(crops, conditions, whose).clone()
    other = crops.clone()
    other[-1] = 1 - other[-1]
    names = (*whose.avatars[:-1], next(name for name in PEOPLE if name != whose.avatars[-1]))
    after = refiner.refine(other, conditions, replace(whose, avatars=names))
    changed = (before != after).flatten(1).any(1)
    return {"batch": count, "rows_changed": int(changed.sum()), "the_one_that_should": bool(changed[-1])}


def trained(bench: Bench, settings: StreamDiffusionSettings, size: int) -> dict[str, Any]:
    """Seconds a step of four crops, and memory."""
    config = LoraConfig(refiner=settings, steps=STEPS, device=str(bench.device))
    weights, _ = frozen_weights(config, bench.device)
    avatar = load_avatar(PACKAGED / "demo")
    manifest = avatar.manifest
    face = LiveFace(avatar.id, face_plane(avatar), (0, 0), (manifest.width, manifest.height))
    adapter = Adapter(weights, settings, face.seed, 0)
    sampler = FaceCropSampler(random_pairs(size, bench.device, manifest.intrinsics), face, (size,), 1, 0)
    train_lora(adapter, sampler, config.model_copy(update={"steps": 3}), None, Silent(), Stop())
    begun = time.perf_counter()
    done = train_lora(adapter, sampler, config, None, Silent(), Stop())
    if bench.device.type == "cuda":
        torch.cuda.synchronize(bench.device)
    spent = (time.perf_counter() - begun) / done.steps
    first, last = (sum(v for k, v in done.history[at].items() if k != "fraction") for at in (0, -1))
    return {"size": size, "step_s": round(spent, 4), "loss": [first, last], **memory(bench.device)}


def random_pairs(size: int, device: torch.device, camera: tuple[float, float, float, float]) -> Pairs:
    count, random = 8, torch.Generator().manual_seed(0)
    renders, truth = (torch.randint(256, (count, size, size, 3), generator=random).byte() for _ in range(2))
    pose = np.eye(3, 4, dtype=np.float32)
    pose[1:, 1:3] *= -1
    pose[2, 3] = 8
    inside = [size * 0.2, size * 0.2, size * 0.8, size * 0.8]
    return Pairs(
        frames=torch.arange(count),
        renders=renders,
        truth=truth,
        alpha=torch.full((count, size, size), 255, dtype=torch.uint8),
        plate=torch.zeros(size, size, 3, dtype=torch.uint8),
        windows=torch.tensor([[0, 0, size, size]] * count),
        boxes=torch.tensor([inside] * count),
        lips=torch.tensor([inside] * count),
        seen=torch.ones(count, dtype=torch.bool),
        avatars=torch.zeros(count, dtype=torch.long),
        head_poses=torch.from_numpy(pose).repeat(count, 1, 1),
        depth=torch.full((count, size, size), 8.0, dtype=torch.float16),
        camera=camera,
    ).to(device)


if __name__ == "__main__":
    main()
