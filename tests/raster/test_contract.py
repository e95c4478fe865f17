"""What does not fit the contract is refused, with the name of what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from being.errors import InputError
from being.raster import Cameras, Splats, rasterize

SPLATS = Splats(
    means=torch.zeros(4, 3),
    quats=torch.ones(4, 4),
    scales=torch.ones(4, 3),
    opacities=torch.full((4,), 0.5),
    colors=torch.ones(4, 3),
    offsets=(0, 1, 4),
)
CAMERAS = Cameras(torch.eye(3, 4).repeat(2, 1, 1), torch.ones(2, 4), 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quats": torch.ones(4, 3)}, "quats has shape"),
        ({"opacities": torch.ones(4, 1)}, "opacities has shape"),
        ({"scales": torch.ones(4, 3).double()}, "scales is torch.float64"),
        ({"means": torch.zeros(3, 3)}, "has shape"),
        ({"offsets": (0, 3, 2, 4)}, "offsets"),
        ({"offsets": (0, 1, 5)}, "offsets"),
        ({"offsets": ()}, "offsets"),
        ({"offsets": (0, 4)}, "1 sets of splats were given for 2 cameras"),
    ],
)
def test_wrong_splats(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rasterize(replace(SPLATS, **change), CAMERAS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": torch.eye(4)[None]}, "view has shape"),
        ({"intrinsics": torch.ones(2, 3)}, "intrinsics has shape"),
        ({"width": 0}, "0x8"),
    ],
)
def test_wrong_cameras(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rasterize(SPLATS, replace(CAMERAS, **change))


def test_wrong_probe_and_backend() -> None:
    with pytest.raises(InputError, match="probe has shape"):
        rasterize(SPLATS, CAMERAS, probe=torch.zeros(4, 3))
    with pytest.raises(InputError, match="no rasterizer backend 'abacus'"):
        rasterize(SPLATS, CAMERAS, backend="abacus")
