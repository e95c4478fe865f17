"""The CPU backend for training: a whole batch as one differentiable step of autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from being.errors import InputError
from being.raster.contract import Cameras, Raster, Splats, scaled_low_pass
from being.raster.cpu import backward as numba_backward
from being.raster.cpu.backend import (
    NO_PROBE,
    Array,
    Buffers,
    TileLists,
    blend,
    camera_of,
    list_splats,
    share,
    thread_renderer,
)
from being.raster.cpu.workers import run_on_threads


def rasterize_numba(splats: Splats, cameras: Cameras, probe: Tensor | None = None) -> Raster:
    """Draw every image of the batch on the CPU, in float32; arguments as `being.raster.rasterize`."""
    if splats.means.device.type != "cpu":
        raise InputError(f"The numba backend draws on the CPU, the splats are on {splats.means.device}")
    tensors = (splats.means, splats.quats, splats.scales, splats.opacities, splats.colors, probe)
    differentiable = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    if differentiable and cameras.low_pass is not None:
        raise InputError("The numba backend has no gradients under another low-pass filter", "Train at the film's size")
    rgb, alpha, depth, radii = _Rasterize.apply(*tensors, splats.offsets, cameras, differentiable)
    return Raster(rgb, alpha, depth, radii)


class _Rasterize(torch.autograd.Function):
    """`rasterize_numba` as one step of autograd."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        *tensors, offsets, cameras, differentiable = arguments
        attributes = [_numpy(tensor) for tensor in tensors[:5]]
        probe = NO_PROBE if tensors[5] is None else _numpy(tensors[5])
        views, intrinsics = _numpy(cameras.view), _numpy(cameras.intrinsics)
        filters = [scaled_low_pass(1.0)] * cameras.count if cameras.low_pass is None else cameras.low_pass.tolist()
        picture = (cameras.count, cameras.height, cameras.width)
        rgb, alpha, depth = torch.empty(*picture, 3), torch.empty(picture), torch.empty(picture)
        radii = torch.empty(offsets[-1])
        renderer = thread_renderer()
        kept = []
        for image in range(cameras.count):
            own = slice(offsets[image], offsets[image + 1])
            camera = camera_of(views[image], intrinsics[image], cameras.width, cameras.height, filters[image])
            image_attributes = [attribute[own] for attribute in attributes]
            lists = list_splats(image_attributes, camera, renderer.threads, renderer.buffers, probe[own])
            outputs = (rgb[image].numpy(), alpha[image].numpy(), depth[image].numpy())
            blend(lists, renderer.threads, renderer.buffers, *outputs)
            radii[own] = torch.from_numpy(lists.radii)
            if differentiable:
                kept.append(lists.copy())
        ctx.kept, ctx.offsets = kept, offsets
        ctx.save_for_backward(*tensors[:4], rgb, alpha, depth)
        ctx.mark_non_differentiable(radii)
        return rgb, alpha, depth, radii

    @staticmethod
    def backward(ctx: Any, g_rgb: Any, g_alpha: Any, g_depth: Any, g_radii: Any) -> tuple[Any, ...]:
        means, quats, scales, opacities, *pictures = (_numpy(tensor) for tensor in ctx.saved_tensors)
        g_pictures = [_numpy(gradient) for gradient in (g_rgb, g_alpha, g_depth)]
        count = ctx.offsets[-1]
        widths = (3, 4, 3, 1, 3, 2)  # means, quats, scales, opacities, colors, probe
        gradients = [torch.zeros(count, width) if width > 1 else torch.zeros(count) for width in widths]
        arrays = [gradient.numpy() for gradient in gradients]
        renderer = thread_renderer()
        for image, lists in enumerate(ctx.kept):
            own = slice(ctx.offsets[image], ctx.offsets[image + 1])
            _backward_of_image(
                lists,
                renderer.threads,
                renderer.buffers,
                [attribute[own] for attribute in (means, quats, scales, opacities)],
                [picture[image] for picture in (*pictures, *g_pictures)],
                [array[own] for array in arrays],
            )
        wanted = [gradient if need else None for gradient, need in zip(gradients, ctx.needs_input_grad, strict=False)]
        return (*wanted, None, None, None)


def _backward_of_image(
    lists: TileLists,
    threads: int,
    buffers: Buffers,
    attributes: Sequence[Array],
    pictures: Sequence[Array],
    gradients: Sequence[Array],
) -> None:
    """Fill the gradients of one image's means, quats, scales, opacities, colors and probe.

    pictures : rgb, alpha, depth as drawn, then the loss's gradients at the three.
    """
    shown = len(lists.order)
    of_drawn = buffers.take("gradients", (threads, shown, numba_backward.GRADIENTS))
    scratch = buffers.take("tile backward", (threads, numba_backward.TILE_SCRATCH))
    camera = lists.camera
    listed = (lists.starts, lists.pairs, lists.drawn, camera.tiles_across)

    def blend_part(part: int) -> None:
        numba_backward.blend_backward(part, threads, *listed, *pictures, scratch[part], of_drawn[part])

    def project_part(part: int) -> None:
        first, last = share(shown, part, threads)
        place = (camera.view, camera.intrinsics, camera.width, camera.height)
        numba_backward.project_backward(first, last, lists.order, of_drawn, *attributes, *place, *gradients)

    run_on_threads(blend_part, threads)
    run_on_threads(project_part, threads)


def _numpy(tensor: Tensor) -> Array:
    """Return a tensor's numbers as the kernels take them, without a copy where they are so already."""
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy()
