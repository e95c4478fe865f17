"""Reference frames chosen from the footage and brought into their chart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.native.network import box_blurred
from being.refine.native.references import COARSE, GUIDE, THUMB, ZERO, References, View, projected, unprojected
from being.training.refiner.pairs import Pairs, packed

STEP = 64  # texels: charts are multiples of it
FINER = 1.25  # texels of a pixel, as they are sampled twice
MOST_TEXELS = 512
MOST = 96  # references
BYTES = 64e6  # of an avatar's references
COARSER = 17  # pixels; of differences only what is finer is kept: coarser shapes and colours stay the render's
EVENLY = 0.75  # of the references are evenly spread over the footage
MAY_BE_WORSE = 4.0  # dB than the median render, to be a reference
CANDIDATES = 512  # frames that references are chosen from
AT_ONCE = 8  # frames
GAP = 12  # frames: references filmed within so many of a pair are not shown to it, as live nothing was filmed then


def size_of(pairs: Pairs, avatar: int = 0) -> tuple[int, int]:
    """(references, texels) that the footage allows; no references where the avatar was trained on none of the pairs."""
    side = int((pairs.windows[:, 2] - pairs.windows[:, 0]).max())
    texels = min(max(round(FINER * side / STEP), 1) * STEP, MOST_TEXELS)
    return min(len(candidates(pairs, avatar)), MOST, int(BYTES / (3 * texels**2))), texels


def candidates(pairs: Pairs, avatar: int = 0) -> Tensor:
    """Rows that references may be chosen from: of frames that `avatar` was trained on, drawn about as well as the
    others. Where the head was not followed, film minus render is the face beside itself."""
    seen = torch.nonzero(pairs.seen & (pairs.avatars == avatar)).flatten()
    if not len(seen):
        return seen
    errors = torch.stack([_error(pairs, int(row)) for row in seen])
    kept = seen[errors <= errors.median() * 10 ** (MAY_BE_WORSE / 10)]
    return kept[torch.linspace(0, len(kept) - 1, min(len(kept), CANDIDATES)).round().long()]


def _error(pairs: Pairs, row: int) -> Tensor:
    """Mean squared difference of a render to the film inside its window, on the CPU."""
    x0, y0, x1, y1 = pairs.windows[row].tolist()
    difference = pairs.truth[row, y0:y1, x0:x1].float() - pairs.renders[row, y0:y1, x0:x1].float()
    return difference.square().mean().cpu()


@dataclass(frozen=True, eq=False)
class Chosen:
    """References and the numbers (M,) of their frames in the footage, on the CPU."""

    references: References
    frames: Tensor

    def too_near(self, frames: Tensor, gap: int) -> Tensor:
        """(N, M) bool: whether a reference was filmed within `gap` frames of a frame."""
        return (frames[:, None] - self.frames[None]).abs() <= gap


def view_of(pairs: Pairs, rows: Tensor) -> View:
    """Where the pictures of some rows lie in space."""
    device, count = pairs.renders.device, len(rows)
    camera = torch.tensor(pairs.camera, device=device).expand(count, 4)
    return View(pairs.depth[rows.to(device)][:, None].float(), camera, pairs.head_poses[rows].to(device))


def pictures(source: Tensor, rows: Tensor) -> Tensor:
    """(N, 3, S, S) float32 in [0, 1] of (N, S, S, 3) bytes."""
    return source[rows.to(source.device)].permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def choose(pairs: Pairs, count: int, texels: int, avatar: int = 0) -> Chosen:
    """References among the frames that `avatar` was trained on, by its own renders of them."""
    device = pairs.renders.device
    among = candidates(pairs, avatar)
    references = References(count, texels).to(device)
    _place_chart(references, pairs, among)
    thumbs = torch.cat(
        [references.thumbnails(pictures(pairs.renders, rows), view_of(pairs, rows)) for rows in among.split(AT_ONCE)]
    )
    taken = _spread(thumbs * references.covered, count)
    rows = among[taken]
    references.thumbs.copy_(thumbs[taken])
    references.solve()
    points = references.points.permute(2, 0, 1)[None]
    fine = F.interpolate(points, size=(texels, texels), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    for place, row in enumerate(rows.split(1)):
        view = view_of(pairs, row)
        at = 2 * projected(fine[None], view.poses, view.cameras) / pairs.renders.shape[1] - 1
        difference = pairs.truth[row.to(device)].float() - pairs.renders[row.to(device)].float()
        difference = difference.permute(0, 3, 1, 2)
        fine_part = difference - box_blurred(difference, COARSER)
        laid = F.grid_sample(fine_part, at, mode="bicubic", align_corners=False)
        references.differences[place] = (laid[0] + ZERO).clamp(0, 255).round().byte()
    return Chosen(references, pairs.frames[rows])


@torch.no_grad()
def guides(pairs: Pairs, chosen: Chosen, rows: Tensor, gap: int = GAP) -> Tensor:
    """(len(rows), S, S, 4) uint8 of some pairs, by references filmed more than `gap` frames before or after."""
    device = pairs.renders.device
    cells = chosen.references.cells(torch.float32)
    parts = []
    for some in rows.split(AT_ONCE):
        excluded = chosen.too_near(pairs.frames[some], gap).to(device)
        found = chosen.references(pictures(pairs.renders, some), view_of(pairs, some), cells, excluded)
        parts.append(packed(found))
    return torch.cat(parts)


def own_guides(pairs: Pairs, chosen: Chosen) -> Tensor:
    """Guides (N, S, S, 4) uint8 of all pairs; `chosen` are the references of avatar 0.

    A pair that the avatar of a fold drew is guided by references of that avatar, as it errs in its own way: what the
    film showed beyond another's renders is not what is missing here.
    """
    texels = chosen.references.texels
    out = torch.empty((*pairs.renders.shape[:3], GUIDE), dtype=torch.uint8, device=pairs.renders.device)
    for avatar in pairs.avatars.unique().tolist():
        rows = torch.nonzero(pairs.avatars == avatar).flatten()
        count = min(len(chosen.frames), size_of(pairs, avatar)[0])
        own = choose(pairs, count, texels, avatar) if avatar and count else chosen
        out[rows.to(out.device)] = guides(pairs, own, rows)
    return out


def _place_chart(references: References, pairs: Pairs, rows: Tensor) -> None:
    """Pose and camera of the chart, and the face's surface in it as the frames' depths have it."""
    device, texels = pairs.renders.device, references.texels
    poses = pairs.head_poses[rows]
    middle = int((poses - poses.mean(0)).flatten(1).norm(dim=1).argmin())
    x0, y0, x1, _ = pairs.windows[rows[middle]].tolist()
    scale = texels / (x1 - x0)
    fx, fy, cx, cy = pairs.camera
    references.pose.copy_(poses[middle])
    references.camera.copy_(torch.tensor([fx * scale, fy * scale, (cx - x0) * scale, (cy - y0) * scale]))
    side = texels // COARSE
    total, count = (torch.zeros(side * side, device=device) for _ in range(2))
    for part in rows.split(AT_ONCE):
        view = view_of(pairs, part)
        points = unprojected(view.depth[:, 0], view.poses, view.cameras)
        own = references.pose.expand(len(part), 3, 4)
        at = projected(points, own, references.camera.expand(len(part), 4)).div(COARSE).floor().long()
        far = (points @ references.pose[:, :3].T + references.pose[:, 3])[..., 2]
        kept = (view.depth[:, 0] > 0) & (at >= 0).all(-1) & (at < side).all(-1)
        index = (at[..., 1] * side + at[..., 0])[kept]
        total.index_add_(0, index, far[kept])
        count.index_add_(0, index, torch.ones_like(far[kept]))
    depth = _filled(total.view(side, side), count.view(side, side))
    camera = references.camera[None] / COARSE
    references.points.copy_(unprojected(depth[None], references.pose[None], camera)[0])
    there = (count.view(1, 1, side, side) > 0).float()
    references.covered.copy_(F.avg_pool2d(there, THUMB // COARSE)[0, 0])


def _filled(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and where nothing was counted what is around it, at last the mean of all."""
    mean = total.sum() / count.sum().clamp(min=1)
    found = torch.where(count > 0, total / count.clamp(min=1), mean)
    known = (count > 0).float()
    for _ in range(8):
        around = [F.avg_pool2d(part[None, None], 3, stride=1, padding=1)[0, 0] for part in (found * known, known)]
        found = torch.where((known == 0) & (around[1] > 0), around[0] / around[1].clamp(min=1e-6), found)
        known = ((known > 0) | (around[1] > 0)).float()
    return found


def _spread(thumbs: Tensor, count: int) -> Tensor:
    """(count,) rows of (N, 3, t, t): a share evenly over the footage, which is how the face mostly looks, then each the
    one that is furthest from all before (Gonzalez 1985), which is how it looks seldom."""
    flat = F.avg_pool2d(thumbs, 2).flatten(1)
    evenly = max(1, round(EVENLY * count))
    taken = (
        (torch.arange(evenly) * len(flat) / evenly + len(flat) / evenly / 2).long().clamp(max=len(flat) - 1).tolist()
    )
    far = torch.full((len(flat),), float("inf"), device=flat.device)
    for row in taken:
        far = torch.minimum(far, (flat - flat[row]).norm(dim=1))
    far[taken] = -1  # nobody twice, even where renders are alike
    while len(taken) < count:
        row = int(far.argmax())
        taken.append(row)
        far = torch.minimum(far, (flat - flat[row]).norm(dim=1))
        far[row] = -1
    return torch.tensor(taken)
