"""The posing kernel against its PyTorch twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fast_scene import COUNT, exact_offsets, scene
from test_model_deform import pose

from being.model import Offsets, assemble
from being.model.fast import CanonicalBlocks, SplatArrays, assemble_numpy, make_deformer, offset_buffer


@pytest.mark.parametrize("threads", [1, 3])
def test_matches_torch(threads: int) -> None:
    made = scene()
    exact = torch.from_numpy(exact_offsets(made, made.held_out[:1]))
    offsets = Offsets(
        exact[..., :3], exact[..., 3:6], exact[..., 6:10], exact[..., 10], exact[..., 11:].unflatten(-1, (16, 3))
    )
    for head, torso in ((pose(1), pose(2)), (pose(5), pose(5))):
        wanted = assemble(made.gaussians, offsets, head[None], torso[None])
        deformer = make_deformer("full", made.network, made.gaussians)
        canonical = CanonicalBlocks.of(made.gaussians, deformer)
        blocks = deformer(made.held_out[0], offset_buffer(deformer))
        splats = assemble_numpy(canonical, blocks, head.numpy(), torso.numpy(), SplatArrays.empty(COUNT), threads)
        for name in ("means", "quats", "scales", "opacities", "colors"):
            np.testing.assert_allclose(
                getattr(splats, name), getattr(wanted, name).numpy(), atol=1e-5, rtol=1e-5, err_msg=name
            )
