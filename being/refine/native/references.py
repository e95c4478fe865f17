"""Reference frames: what the film showed beyond the render in frames of the footage, laid onto the face of another.

Much of what a render lacks belongs to a place of the face and to how the face looks there (lids, teeth, a fold beside
the mouth), and so stands in some frames of the footage. The differences (film - render) of M frames are kept in one
chart: the head as a camera sees it in a common pose. A frame that is to be refined is brought into the chart at low
resolution; at each node of a coarse grid the frames whose renders look most like it there are weighed, and the mix of
their differences is laid back onto the frame by its depth and head pose. Chosen by renders alone, so that nothing has
to be known of the film.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GUIDE = 4  # channels of a guide: the difference, RGB, and how unlike the nearest reference is
COARSE = 4  # texels between points of the surface
THUMB = 8  # texels of a thumbnail's pixel
NODES = 9  # of the grid, in each direction
CELLS = NODES - 1
KEPT = 6  # references that are mixed at a node
ZERO = 128  # of a difference as a byte, in grey levels
FLOOR = 1.0  # grey levels^2: references that are nearer than that are alike
UNLIKE = 32.0  # grey levels that are 1 in the guide


@dataclass(frozen=True, eq=False)
class View:
    """Where N crops lie in space.

    depth : (N, 1, S, S) float32 mean distance in decimetres, 0 where nothing is. cameras : (N, 4) fx, fy, cx, cy in
    pixels of the crops. poses : (N, 3, 4) float32, head space to OpenCV camera.
    """

    depth: Tensor
    cameras: Tensor
    poses: Tensor


class References(nn.Module):
    """M reference frames in a chart of T x T texels.

    Buffers
    -------
    differences : (M, 3, T, T) uint8, film minus render in grey levels, plus ZERO. thumbs : (M, 3, T/8, T/8) of the
    renders, grey levels. points : (T/4, T/4, 3) the face's surface in head space, decimetres. covered : (T/8, T/8) in
    [0, 1], where there is a surface. pose : (3, 4), camera : (4,) of the chart, in texels.
    """

    differences: Tensor
    thumbs: Tensor
    points: Tensor
    covered: Tensor
    pose: Tensor
    camera: Tensor

    def __init__(self, count: int, texels: int) -> None:
        super().__init__()
        coarse, small = texels // COARSE, texels // THUMB
        self.register_buffer("differences", torch.full((count, 3, texels, texels), ZERO, dtype=torch.uint8))
        self.register_buffer("thumbs", torch.zeros(count, 3, small, small))
        self.register_buffer("points", torch.zeros(coarse, coarse, 3))
        self.register_buffer("covered", torch.zeros(small, small))
        self.register_buffer("pose", torch.eye(3, 4))
        self.register_buffer("camera", torch.ones(4))
        self.texels = texels

    def forward(self, crops: Tensor, view: View, cells: Tensor | None = None, excluded: Tensor | None = None) -> Tensor:
        """Guides (N, 4, S, S) of crops (N, 3, S, S) in [0, 1].

        cells : `self.cells(...)`, where it is kept from call to call. excluded : (N, M) bool, references that a crop
        may not have.
        """
        cells = self.cells(crops.dtype) if cells is None else cells
        weights, unlike = self.weights(self.thumbnails(crops, view), excluded)
        texture = mixed(cells, weights.to(cells.dtype)).to(crops.dtype)
        at = self.places(view)
        there = (view.depth > 0).to(crops.dtype)
        difference = F.grid_sample(texture, at, align_corners=False)
        unlike = F.grid_sample(unlike, at, align_corners=True)
        return torch.cat([difference, unlike], 1) * there

    def cells(self, dtype: torch.dtype) -> Tensor:
        """The differences in units of colour, cell by cell: (CELLS^2, M, 3 c c), c = T / CELLS."""
        count, side = len(self.differences), self.texels // CELLS
        found = (self.differences.to(dtype) - ZERO) / 255
        found = found.reshape(count, 3, CELLS, side, CELLS, side).permute(2, 4, 0, 1, 3, 5)
        return found.reshape(CELLS * CELLS, count, 3 * side * side).contiguous()

    def thumbnails(self, crops: Tensor, view: View) -> Tensor:
        """(N, 3, T/8, T/8) of crops in the chart, grey levels."""
        at = projected(self.points[None].expand(len(crops), -1, -1, -1), view.poses, view.cameras)
        at = 2 * at / crops.shape[-1] - 1
        seen = F.grid_sample(F.avg_pool2d(crops, 2), at, align_corners=False, padding_mode="border")
        return 255 * F.avg_pool2d(seen, THUMB // COARSE)

    def weights(self, thumbs: Tensor, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """How much of each reference is wanted at the nodes, (N, M, NODES, NODES), and how unlike the nearest is.

        The weight of a reference falls to 0 where another takes its place among the KEPT nearest, so that a mix
        changes steadily from frame to frame.
        """
        tents = _tents(thumbs.shape[-1], thumbs.device)
        counted = tents @ self.covered @ tents.T
        far = (thumbs[:, None] - self.thumbs[None]).square().mean(2) * self.covered
        far = tents @ far @ tents.T / counted.clamp(min=1e-3) + FLOOR
        if excluded is not None:
            far = far.masked_fill(excluded[:, :, None, None], float("inf"))
        near, which = far.topk(min(KEPT + 1, far.shape[1]), 1, largest=False)
        inverse = 1 / near
        share = inverse - inverse[:, -1:] if far.shape[1] > KEPT else inverse
        share = share + 1e-6 * inverse
        share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
        unlike = (near[:, :1].sqrt() / UNLIKE).clamp(max=1)
        return torch.zeros_like(far).scatter_(1, which, share), unlike

    def places(self, view: View) -> Tensor:
        """Where in the chart the pixels of crops lie, (N, S, S, 2), its edges at -1 and 1."""
        points = unprojected(view.depth[:, 0], view.poses, view.cameras)
        count = len(points)
        at = projected(points, self.pose.expand(count, 3, 4), self.camera.expand(count, 4))
        return (2 * at / self.texels - 1).clamp(-4, 4)


def mixed(cells: Tensor, weights: Tensor) -> Tensor:
    """References by cells (C, M, 3 c c), weights at the nodes (N, M, NODES, NODES) -> their mix (N, 3, T, T).

    Weights between nodes are bilinear; as the references lie still, that is the same as mixing by each of a cell's
    four corners and then between these, which is one matrix product.
    """
    count, side = len(weights), round((cells.shape[-1] / 3) ** 0.5)
    corners = [weights[:, :, y : y + CELLS, x : x + CELLS] for y in (0, 1) for x in (0, 1)]
    left = torch.stack(corners).permute(3, 4, 0, 1, 2).reshape(CELLS * CELLS, 4 * count, -1)
    found = (left @ cells).view(CELLS * CELLS, 4, count, 3, side, side)
    second = (torch.arange(side, device=cells.device, dtype=cells.dtype) + 0.5) / side
    ramps = torch.stack([1 - second, second])
    between = (ramps[:, None, :, None] * ramps[None, :, None, :]).view(4, 1, 1, side, side)
    whole = (found * between).sum(1).view(CELLS, CELLS, count, 3, side, side)
    return whole.permute(2, 3, 0, 4, 1, 5).reshape(count, 3, CELLS * side, CELLS * side)


def projected(points: Tensor, poses: Tensor, cameras: Tensor) -> Tensor:
    """Points (N, h, w, 3) of head space -> pixels (N, h, w, 2), the first pixel's centre at 0.5."""
    seen = _turned(points, poses[:, :, :3]) + poses[:, None, None, :, 3]
    focal, centre = cameras[:, None, None, :2], cameras[:, None, None, 2:]
    return focal * seen[..., :2] / seen[..., 2:].clamp(min=1e-3) + centre


def unprojected(depth: Tensor, poses: Tensor, cameras: Tensor) -> Tensor:
    """Distances (N, S, S) in decimetres -> points (N, S, S, 3) of head space."""
    at = torch.arange(depth.shape[-1], device=depth.device, dtype=depth.dtype) + 0.5
    fx, fy, cx, cy = cameras[:, :, None, None].unbind(1)
    x, y = (at[None, None, :] - cx) / fx * depth, (at[None, :, None] - cy) / fy * depth
    return _turned(torch.stack([x, y, depth], -1) - poses[:, None, None, :, 3], poses[:, :, :3].transpose(1, 2))


def _turned(points: Tensor, rotations: Tensor) -> Tensor:
    """Points (N, h, w, 3) by rotations (N, 3, 3); no matrix product, which a GPU may round to ten bits (TF32)."""
    columns = rotations[:, None, None].unbind(-1)
    return points[..., :1] * columns[0] + points[..., 1:2] * columns[1] + points[..., 2:] * columns[2]


def _tents(small: int, device: torch.device) -> Tensor:
    """(NODES, small): how much a thumbnail's pixels count at each node, falling to 0 at the next."""
    at = (torch.arange(small, device=device) + 0.5) * (CELLS / small)
    nodes = torch.arange(NODES, device=device)[:, None]
    return (1 - (at[None] - nodes).abs()).clamp(min=0)
