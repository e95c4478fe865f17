"""What refined pictures are judged by: nearness to the film, detail, lips that stay where they were, and steadiness.

All take pictures (N, S, S, 3) uint8 and boxes (N, 4) x0 y0 x1 y1 in their pixels, on any device.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from being.training.loss.losses import psnr, ssim_map
from being.training.loss.perceptual import Perceptual
from being.training.loss.radial_spectrum import luma, radial_spectrum

SHIFT_BLUR = 2.0  # pixels; detail that was added is no motion
SHIFT_STEPS = 3
STEEP = 0.0026  # keeps the similarity of gradients steady where there are none: the paper's 170 of 255^2


def inside(boxes: Tensor, side: int) -> Tensor:
    """(N, side, side) float32, 1 inside the boxes."""
    at = torch.arange(side) + 0.5
    columns = (at >= boxes[:, None, 0]) & (at < boxes[:, None, 2])
    rows = (at >= boxes[:, None, 1]) & (at < boxes[:, None, 3])
    return (rows[:, :, None] & columns[:, None, :]).float()


def nearness(pictures: Tensor, truth: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    """psnr (dB) and ssim of each picture inside its box, (N,)."""
    mask = inside(boxes, pictures.shape[1]).to(pictures.device)
    a, b = pictures.float() / 255, truth.float() / 255
    similar = (ssim_map(a, b) * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    return {"psnr": psnr(a, b, mask), "ssim": similar}


def feature_distance(pictures: Tensor, truth: Tensor, boxes: Tensor, perceptual: Perceptual) -> Tensor:
    """LPIPS-like distance of VGG-16 features of what the boxes show, (N,)."""
    out = []
    for row, box in enumerate(boxes.round().int().tolist()):
        a, b = (part[row : row + 1, box[1] : box[3], box[0] : box[2]].float() / 255 for part in (pictures, truth))
        out.append(perceptual.normalized_distance(a, b))
    return torch.cat(out)


def spectrum_distance(pictures: Tensor, truth: Tensor, boxes: Tensor) -> Tensor:
    """Mean difference of the radial log power spectra inside the boxes, decades, (N,)."""
    a, b = luma(pictures), luma(truth)
    out = []
    for row, box in enumerate(boxes.round().int().tolist()):
        parts = (part[row, box[1] : box[3], box[0] : box[2]] for part in (a, b))
        first, second = (radial_spectrum(part) for part in parts)
        out.append((first - second).abs().mean())
    return torch.stack(out)


def gradient_deviation(pictures: Tensor, truth: Tensor, boxes: Tensor) -> Tensor:
    """Deviation of the similarity of gradient magnitudes inside the boxes, (N,): 0 is alike (GMSD, Xue et al. 2014).

    What an eye sees of lost and of wrong detail, without weights of a network.
    """
    a, b = (_steepness(F.avg_pool2d(luma(part)[:, None], 2)) for part in (pictures, truth))
    alike = ((2 * a * b + STEEP) / (a * a + b * b + STEEP))[:, 0]
    mask = inside(boxes / 2, alike.shape[-1]).to(alike.device)
    counted = mask.sum((1, 2)).clamp(min=1)
    mean = (alike * mask).sum((1, 2)) / counted
    return (((alike - mean[:, None, None]).square() * mask).sum((1, 2)) / counted).sqrt()


def _steepness(pictures: Tensor) -> Tensor:
    """Magnitudes of gradients (Prewitt) of (N, 1, S, S)."""
    across = pictures.new_tensor([[1.0, 0.0, -1.0]] * 3)[None, None] / 3
    return (F.conv2d(pictures, across, padding=1).square() + F.conv2d(pictures, across.mT, padding=1).square()).sqrt()


def shifts(before: Tensor, after: Tensor, boxes: Tensor, cells: tuple[int, int] = (2, 3)) -> Tensor:
    """How far what the boxes show has moved, pixels: (N,) means over `cells` (rows, columns) of each box.

    Lucas and Kanade 1981 on blurred luma, a few steps; where nothing can be followed nothing has moved.
    """
    a, b = (_blurred(luma(part)[:, None]) for part in (before, after))
    out = []
    for row, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        ys, xs = np.linspace(y0, y1, cells[0] + 1), np.linspace(x0, x1, cells[1] + 1)
        moved = [
            _shift(a[row], b[row], (xs[j], ys[i], xs[j + 1], ys[i + 1]))
            for i in range(cells[0])
            for j in range(cells[1])
        ]
        out.append(torch.stack(moved).mean())
    return torch.stack(out)


def _shift(before: Tensor, after: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """Length of the one shift (scalar) that lays `before` (1, S, S) over `after` inside the box."""
    side = before.shape[-1]
    y, x = torch.meshgrid(
        torch.arange(int(box[1]), int(np.ceil(box[3]))), torch.arange(int(box[0]), int(np.ceil(box[2]))), indexing="ij"
    )
    grid = torch.stack([x, y], -1).float().to(before.device)
    patch = _sampled(before, grid, side)
    dx = (
        _sampled(before, grid + grid.new_tensor([1.0, 0.0]), side)
        - _sampled(before, grid - grid.new_tensor([1.0, 0.0]), side)
    ) / 2
    dy = (
        _sampled(before, grid + grid.new_tensor([0.0, 1.0]), side)
        - _sampled(before, grid - grid.new_tensor([0.0, 1.0]), side)
    ) / 2
    slope = torch.stack([dx.flatten(), dy.flatten()], 1)
    square = slope.T @ slope + 1e-4 * torch.eye(2, device=slope.device)
    move = torch.zeros(2, device=slope.device)
    for _ in range(SHIFT_STEPS):
        error = (patch - _sampled(after, grid + move, side)).flatten()
        move = move + torch.linalg.solve(square, slope.T @ (error - error.mean()))
    return move.norm()


def _sampled(picture: Tensor, at: Tensor, side: int) -> Tensor:
    """(1, S, S) at pixel centres (h, w, 2) -> (h, w)."""
    grid = (2 * at + 1) / side - 1
    return F.grid_sample(picture[None], grid[None], align_corners=False, padding_mode="border")[0, 0]


def _blurred(pictures: Tensor) -> Tensor:
    """(N, 1, S, S) -> (N, 1, S, S)."""
    reach = int(3 * SHIFT_BLUR)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pictures.device) / SHIFT_BLUR) ** 2)
    line = (line / line.sum()).view(1, 1, 1, -1)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, line), line.transpose(2, 3))


def flicker(
    pictures: Tensor,
    frames: Tensor,
    poses: Tensor,
    camera: tuple[float, float, float, float],
    depth: float,
    boxes: Tensor,
    without: Tensor,
) -> float:
    """Mean change of luma from frame to frame after the head's motion is undone, grey levels of 255.

    Parameters
    ----------
    frames : (N,) numbers; only neighbours are compared. poses : (N, 3, 4) of the head. camera : fx, fy, cx, cy of the
    pictures. depth : z in head space of the plane that stands for the face, dm. boxes : what is looked at, (N, 4).
    without : boxes that are left out, the mouth's.
    """
    grey, side = luma(pictures), pictures.shape[1]
    masks = inside(boxes, side) * (1 - inside(without, side))
    changes = []
    for row in torch.nonzero(frames[1:] - frames[:-1] == 1).flatten().tolist():
        at = _carried(poses[row].double().numpy(), poses[row + 1].double().numpy(), camera, depth, side)
        moved = _sampled(grey[row + 1][None], torch.from_numpy(at).float().to(grey.device), side)
        mask = masks[row].to(grey.device)
        changes.append(float(((moved - grey[row]).abs() * mask).sum() / mask.sum().clamp(min=1)))
    return 255 * float(np.mean(changes)) if changes else float("nan")


def _carried(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    camera: tuple[float, float, float, float],
    depth: float,
    side: int,
) -> NDArray[np.float64]:
    """Where the pixels (S, S, 2) of the first frame lie in the second, as points on the plane z = depth of the head."""
    fx, fy, cx, cy = camera
    y, x = np.mgrid[0:side, 0:side] + 0.5
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], -1)
    origin, turned = -first[:, :3].T @ first[:, 3], rays @ first[:, :3]
    steps = (depth - origin[2]) / np.where(np.abs(turned[..., 2]) < 1e-6, 1e-6, turned[..., 2])
    points = (origin + steps[..., None] * turned) @ second[:, :3].T + second[:, 3]
    return np.stack([fx * points[..., 0] / points[..., 2] + cx, fy * points[..., 1] / points[..., 2] + cy], -1) - 0.5
