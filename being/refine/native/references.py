"""Reference frames: what the film showed beyond the render in frames of the footage, laid onto the face of another.

Much of what a render lacks belongs to a place of the face and to how the face looks there (lids, teeth, a fold beside
the mouth), and so stands in some frames of the footage. The differences (film - render) of M frames are kept in one
chart: the head as a camera sees it in a common pose. A frame that is to be refined is brought into the chart at low
resolution; at each node of a coarse grid its difference is predicted from those of the references by how alike the
renders look there, and the mix is laid back onto the frame by its depth and head pose. Chosen by renders alone, so that
nothing has to be known of the film.

The prediction is ordinary kriging (Matheron 1963; the mean of a Gaussian process with an unknown constant mean): the
covariance of two differences is exp(-d / reach), d the root mean square difference of the renders around the node, and
weights, which add up to 1, come from one matrix for each node that is computed once.
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
REACH = 6.0  # times the median distance of a reference to the nearest other
SHORTEST = 0.5  # grey levels, of a reach
NUGGET = 0.02  # of a difference's variance: what has nothing to do with how the render looks
ZERO = 128  # of a difference as a byte, in grey levels
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
    [0, 1], where there is a surface. pose : (3, 4), camera : (4,) of the chart, in texels. solved : (NODES, NODES, M,
    M + 1), what turns covariances, and a 1 at their end, into weights, and reach : (NODES, NODES), grey levels: of
    `solve`.
    """

    differences: Tensor
    thumbs: Tensor
    points: Tensor
    covered: Tensor
    pose: Tensor
    camera: Tensor
    solved: Tensor
    reach: Tensor

    def __init__(self, count: int, texels: int) -> None:
        super().__init__()
        coarse, small = texels // COARSE, texels // THUMB
        self.register_buffer("differences", torch.full((count, 3, texels, texels), ZERO, dtype=torch.uint8))
        self.register_buffer("thumbs", torch.zeros(count, 3, small, small))
        self.register_buffer("points", torch.zeros(coarse, coarse, 3))
        self.register_buffer("covered", torch.zeros(small, small))
        self.register_buffer("pose", torch.eye(3, 4))
        self.register_buffer("camera", torch.ones(4))
        self.register_buffer("solved", torch.full((NODES, NODES, count, count + 1), 1 / max(count, 1)))
        self.solved[..., :-1] = 0  # all alike, until they are solved
        self.register_buffer("reach", torch.ones(NODES, NODES))
        self.texels = texels

    @torch.no_grad()
    def solve(self) -> None:
        """Set `solved` and `reach` by the thumbnails, once these are in place."""
        count = len(self.thumbs)
        far = self._between()
        if count > 1:
            itself = torch.eye(count, dtype=torch.bool, device=far.device)
            nearest = far.masked_fill(itself, float("inf")).amin(-1)
            self.reach.copy_((REACH * nearest.median(-1).values).clamp(min=SHORTEST))
        self.solved.copy_(_inverse(torch.exp(-far / self.reach[..., None, None]))[..., :-1, :])

    def forward(self, crops: Tensor, view: View, cells: Tensor | None = None, excluded: Tensor | None = None) -> Tensor:
        """Guides (N, 4, S, S) of crops (N, 3, S, S) in [0, 1].

        cells : `self.cells(...)`, where it is kept from call to call. excluded : (N, M) bool, references that a crop
        may not have.
        """
        cells = self.cells(crops.dtype) if cells is None else cells
        weights, unlike = self.weights(self.thumbnails(crops, view), excluded)
        return self.laid(mixed(cells, weights.to(cells.dtype)).to(crops.dtype), unlike, view)

    def laid(self, texture: Tensor, unlike: Tensor | None, view: View) -> Tensor:
        """A mix in the chart (N, 3, T, T), and how unlike the nearest reference is at the nodes (N, 1, NODES, NODES),
        laid onto crops: (N, 4, S, S), (N, 3, S, S) without the latter."""
        at = self.places(view)
        found = F.grid_sample(texture, at, mode="bicubic", align_corners=False)  # bilinear would blur it
        if unlike is not None:
            found = torch.cat([found, F.grid_sample(unlike, at, align_corners=True)], 1)
        return found * (view.depth > 0).to(texture.dtype)

    def cells(self, dtype: torch.dtype) -> Tensor:
        """The differences in units of colour, cell by cell: (CELLS^2, M, 3 c c), c = T / CELLS."""
        return colours(self.byte_cells(), dtype)

    def byte_cells(self) -> Tensor:
        """The same as bytes, as they are stored."""
        count, side = len(self.differences), self.texels // CELLS
        found = self.differences.reshape(count, 3, CELLS, side, CELLS, side).permute(2, 4, 0, 1, 3, 5)
        return found.reshape(CELLS * CELLS, count, 3 * side * side).contiguous()

    def thumbnails(self, crops: Tensor, view: View) -> Tensor:
        """(N, 3, T/8, T/8) of crops in the chart, grey levels."""
        at = projected(self.points[None].expand(len(crops), -1, -1, -1), view.poses, view.cameras)
        at = 2 * at / crops.shape[-1] - 1
        seen = F.grid_sample(F.avg_pool2d(crops, 2), at, align_corners=False, padding_mode="border")
        return 255 * F.avg_pool2d(seen, THUMB // COARSE)

    def distances(self, thumbs: Tensor) -> Tensor:
        """Of thumbnails (N, 3, t, t) to the references around the nodes, (N, M, NODES, NODES), grey levels."""
        tents = _tents(thumbs.shape[-1], thumbs.device)
        counted = tents @ self.covered @ tents.T
        far = (thumbs[:, None] - self.thumbs[None]).square().mean(2) * self.covered
        return (tents @ far @ tents.T / counted.clamp(min=1e-3)).clamp(min=0).sqrt()

    def weights(self, thumbs: Tensor, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """How much of each reference is wanted at the nodes, (N, M, NODES, NODES), and how unlike the nearest is,
        (N, 1, NODES, NODES).

        Weights are smooth in the thumbnails, so that a mix changes steadily from frame to frame.
        """
        far = self.distances(thumbs)
        alike = torch.exp(-far / self.reach).permute(0, 2, 3, 1)
        if excluded is not None:
            between = torch.exp(-self._between() / self.reach[..., None, None])
            found = [_without(between, row, ~away) for row, away in zip(alike, excluded, strict=True)]
            far = far.masked_fill(excluded[:, :, None, None], float("inf"))
            weights = torch.stack(found)
        else:
            beside = F.pad(alike, (0, 1), value=1.0)
            # No matrix product, which a GPU may round to ten bits: neighbouring weights are large and of both signs.
            weights = (self.solved[None] * beside[..., None, :]).sum(-1)
        return weights.permute(0, 3, 1, 2), (far.amin(1, keepdim=True) / UNLIKE).clamp(max=1)

    def _between(self) -> Tensor:
        """Distances from reference to reference, (NODES, NODES, M, M)."""
        return torch.cat([self.distances(thumb[None]) for thumb in self.thumbs]).permute(2, 3, 0, 1)

    def places(self, view: View) -> Tensor:
        """Where in the chart the pixels of crops lie, (N, S, S, 2), its edges at -1 and 1."""
        points = unprojected(view.depth[:, 0], view.poses, view.cameras)
        count = len(points)
        at = projected(points, self.pose.expand(count, 3, 4), self.camera.expand(count, 4))
        return (2 * at / self.texels - 1).clamp(-4, 4)


def colours(stored: Tensor, dtype: torch.dtype) -> Tensor:
    """Differences as bytes -> in units of colour."""
    return (stored.to(dtype) - ZERO) / 255


def mixed(cells: Tensor, weights: Tensor) -> Tensor:
    """References by cells (C, M, 3 c c), weights at the nodes (N, M, NODES, NODES) -> their mix (N, 3, T, T).

    There may be more cells than weights: what is behind the last does not count.

    Weights between nodes are bilinear; as the references lie still, that is the same as mixing by each of a cell's
    four corners and then between these, which is one matrix product.
    """
    count, side = len(weights), round((cells.shape[-1] / 3) ** 0.5)
    corners = [weights[:, :, y : y + CELLS, x : x + CELLS] for y in (0, 1) for x in (0, 1)]
    left = torch.stack(corners).permute(3, 4, 0, 1, 2).reshape(CELLS * CELLS, 4 * count, -1)
    left = F.pad(left, (0, cells.shape[1] - left.shape[-1]))
    found = (left @ cells).view(CELLS * CELLS, 4, count, 3, side, side)
    second = (torch.arange(side, device=cells.device, dtype=cells.dtype) + 0.5) / side
    ramps = torch.stack([1 - second, second])
    between = (ramps[:, None, :, None] * ramps[None, :, None, :]).view(4, 1, 1, side, side)
    whole = (found * between).sum(1).view(CELLS, CELLS, count, 3, side, side)
    return whole.permute(2, 3, 0, 4, 1, 5).reshape(count, 3, CELLS * side, CELLS * side)


def _inverse(alike: Tensor) -> Tensor:
    """Covariances (..., M, M) of references -> inverse (..., M + 1, M + 1) of the kriging equations."""
    count = alike.shape[-1]
    matrix = F.pad(alike.double(), (0, 1, 0, 1), value=1.0)
    matrix[..., :count, :count] += NUGGET * torch.eye(count, device=alike.device, dtype=matrix.dtype)
    matrix[..., count, count] = 0
    return torch.linalg.inv(matrix).to(alike.dtype)


def _without(between: Tensor, alike: Tensor, kept: Tensor) -> Tensor:
    """Weights (NODES, NODES, M) by the references `kept` (M,) bool alone; all 0 where there are none."""
    weights = torch.zeros_like(alike)
    if kept.any():
        beside = F.pad(alike[..., kept], (0, 1), value=1.0)
        solved = _inverse(between[..., kept, :][..., kept])[..., :-1, :]
        weights[..., kept] = (solved * beside[..., None, :]).sum(-1)
    return weights


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
