"""Time of the rasterizer on a head-like scene: prints a table, writes JSON.

    python benchmarks/render_raster.py [--backend numba|gsplat] [--threads 2] [--json raster.json]

Times are medians of wall time; for the CPU also the CPU time of all threads, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from being.raster import Cameras, Raster, Splats, rasterize, spherical_harmonics

CASES = ((256, 10_000), (512, 10_000), (512, 20_000), (512, 35_000))  # picture size, splats


def head_scene(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Flat splats over the shell of an ellipsoid, more of them in front, as in a trained avatar."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    radii = torch.tensor([0.62, 0.85, 0.72])
    on_sphere = normalize(normal(count, 3), dim=-1)
    moved_forward = (on_sphere[:, 2] > 0) & (uniform(count) < 0.4)  # the camera looks along +z
    on_sphere[moved_forward, 2] *= -1
    depth = 1.0 + 0.025 * normal(count, 1) - 0.25 * uniform(count, 1) * (uniform(count, 1) < 0.08)
    outward = normalize(on_sphere / radii, dim=-1)

    spacing = math.sqrt(4 * math.pi * 0.73**2 / count)
    along = 0.46 * spacing * torch.exp(0.45 * normal(count, 2))
    along[uniform(count) < 0.15] *= torch.tensor([2.5, 0.5])  # hair
    along[uniform(count) < 0.02] *= 3.0
    across = 0.15 * spacing * torch.exp(0.5 * normal(count, 1))

    # The rotation that takes z to the outward normal, after a random spin about z.
    tilt = normalize(torch.stack([1 + outward[:, 2], -outward[:, 1], outward[:, 0], 0 * outward[:, 0]], dim=-1), dim=-1)
    half = math.pi * uniform(count)
    w, x, y, _ = tilt.unbind(-1)
    c, s = half.cos(), half.sin()
    quats = torch.stack([w * c, x * c + y * s, y * c - x * s, w * s], dim=-1)

    opaque = uniform(count) < 0.6
    opacities = torch.where(opaque, 1 - 0.3 * uniform(count) ** 2, 0.7 * uniform(count) ** 2).clamp(0.006, 0.995)
    sh = 0.06 * normal(count, 16, 3)
    sh[:, 0] = (0.35 * torch.sin(3 * on_sphere + torch.arange(3)) + 0.1 * normal(count, 3)) / 0.2820948
    return {
        "means": on_sphere * radii * depth,
        "quats": quats,
        "scales": torch.cat([along, across], dim=-1),
        "opacities": opacities,
        "sh": sh,
    }


def head_camera(size: int) -> tuple[Tensor, Tensor]:
    """A view (1, 3, 4) and intrinsics (1, 4) in which the head fills 92% of the picture."""
    view = torch.eye(3, 4)[None].clone()
    view[0, 2, 3] = 4.0
    focal = 0.92 * size * 4.0 / (2 * 0.92)
    return view, torch.tensor([[focal, focal, size / 2, size / 2]])


def median_ms(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Return the median time of a call by a clock in seconds."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return round(1e3 * float(np.median(times)), 2)


def training_step(scene: dict[str, Tensor], view: Tensor, intrinsics: Tensor, size: int, backend: str) -> Callable:
    """Return a function that draws one picture from SH coefficients and differentiates it."""
    leaves = {name: value.clone().requires_grad_() for name, value in scene.items()}
    cameras = Cameras(view, intrinsics, size, size)
    target = torch.rand(1, size, size, 3, device=view.device)
    center = -view[0, :, :3].T @ view[0, :, 3]

    def draw() -> Raster:
        colors = spherical_harmonics(leaves["sh"], normalize(leaves["means"] - center, dim=-1))
        attributes = [leaves[name] for name in ("means", "quats", "scales", "opacities")]
        return rasterize(Splats(*attributes, colors, (0, len(colors))), cameras, backend=backend)

    def step() -> None:
        raster = draw()
        (raster.rgb * target).sum().add(raster.alpha.sum()).add(raster.depth.sum()).backward()
        for leaf in leaves.values():
            leaf.grad = None
        if view.is_cuda:
            torch.cuda.synchronize()

    return step


def numba_row(size: int, count: int, threads: int, repeats: int) -> dict[str, float]:
    """Time the CPU backend."""
    from being.raster.cpu.backend import NumbaRenderer, camera_of, list_splats

    scene, (view, intrinsics) = head_scene(count), head_camera(size)
    colors = spherical_harmonics(scene["sh"], normalize(scene["means"] - torch.tensor([0, 0, -4.0]), dim=-1))
    attributes = [scene[name].numpy() for name in ("means", "quats", "scales", "opacities")] + [colors.numpy()]
    place = (view[0].numpy(), intrinsics[0].numpy())
    renderer = NumbaRenderer(threads)
    out = renderer.render(*attributes, *place, size, size)
    background = np.full((size, size, 3), 128, np.uint8)
    over = renderer.render_over(*attributes, *place, background)
    seen = camera_of(*place, size, size)

    def list_only() -> None:
        list_splats(attributes, seen, threads, renderer.buffers)

    def forward() -> None:
        renderer.render(*attributes, *place, size, size, out=out)

    def to_bytes() -> None:
        renderer.render_over(*attributes, *place, background, out=over)

    step = training_step(scene, view, intrinsics, size, "numba")
    step()
    return {
        "project and sort": median_ms(list_only, repeats, time.perf_counter),
        "forward": median_ms(forward, repeats, time.perf_counter),
        "forward CPU": median_ms(forward, repeats, time.process_time),
        "to bytes": median_ms(to_bytes, repeats, time.perf_counter),
        "training step": median_ms(step, repeats // 2, time.perf_counter),
        "training step CPU": median_ms(step, repeats // 2, time.process_time),
    }


def gsplat_row(size: int, count: int, repeats: int) -> dict[str, float]:
    """Time the CUDA backend."""
    scene = {name: value.cuda() for name, value in head_scene(count).items()}
    view, intrinsics = (value.cuda() for value in head_camera(size))
    colors = spherical_harmonics(scene["sh"], normalize(scene["means"], dim=-1))
    splats = Splats(scene["means"], scene["quats"], scene["scales"], scene["opacities"], colors, (0, count))
    copies = [torch.cat([scene[name]] * 16) for name in ("means", "quats", "scales", "opacities")]
    batch = Splats(*copies, torch.cat([colors] * 16), tuple(range(0, 16 * count + 1, count)))
    cameras = Cameras(view, intrinsics, size, size)
    many = Cameras(view.repeat(16, 1, 1), intrinsics.repeat(16, 1), size, size)

    def forward(of: Splats, by: Cameras) -> None:
        with torch.no_grad():
            rasterize(of, by, backend="gsplat")
        torch.cuda.synchronize()

    step = training_step(scene, view, intrinsics, size, "gsplat")
    forward(splats, cameras), forward(batch, many), step()
    return {
        "forward": median_ms(lambda: forward(splats, cameras), repeats, time.perf_counter),
        "forward, 16 pictures": median_ms(lambda: forward(batch, many), repeats, time.perf_counter),
        "training step": median_ms(step, repeats, time.perf_counter),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("numba", "gsplat"), default="numba")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", type=Path, default=Path("raster.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for size, count in CASES:
        if arguments.backend == "numba":
            times = numba_row(size, count, arguments.threads, arguments.repeats)
        else:
            times = gsplat_row(size, count, arguments.repeats)
        if not rows:
            print("  ".join(["size", " splats", *times]), " (ms)")
        rows.append({"size": size, "splats": count, **times})
        print("  ".join([f"{size:4d}", f"{count:7d}", *(f"{value:{len(name)}.2f}" for name, value in times.items())]))
    device = torch.cuda.get_device_name() if arguments.backend == "gsplat" else platform.processor()
    report = {"backend": arguments.backend, "threads": arguments.threads, "device": device, "milliseconds": rows}
    arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
