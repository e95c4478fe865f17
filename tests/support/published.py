"""Files as the published systems write them, random but of the right form, for the tests of the bridges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from being.extern.gaussiantalker import write_ply
from PIL import Image

from being.dataset.pose import camera_to_world, pose_of_tracking
from being.model.gaussians import Gaussians

HEADS = {"pos_deform": 3, "scales_deform": 3, "rotations_deform": 4, "opacity_deform": 1, "shs_deform": 48}

State = dict[str, np.ndarray]


def random_state(layers: int = 1, width: int = 29, resolutions: tuple[int, int] = (4, 6)) -> State:
    """A state dict of the published names and shapes, as the format's table lists them."""
    rng = np.random.default_rng(3)
    state: State = {}

    def affine(name: str, *shape: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        if bias:
            state[f"{name}.bias"] = 0.3 * rng.normal(size=shape[0])

    state["tri_plane.grid.aabb"] = np.array([[1.1, 1.3, 0.9], [-1.0, -0.8, -1.2]])
    for level, size in enumerate(resolutions):
        for plane in range(3):
            state[f"tri_plane.grid.grids.{level}.{plane}"] = rng.normal(size=(1, 32, size, size))
    affine("tri_plane.feature_out.0", 128, 64)
    affine("tri_plane.feature_out.2", 128, 128)
    for name, size in {"scales": 3, "rotations": 4, "opacity": 1, "shs": 48}.items():
        affine(f"tri_plane.{name}.1", 128, 128)
        affine(f"tri_plane.{name}.3", size, 128)
    for layer in range(layers):
        at = f"transformer.layers.{layer}"
        for name in ("w_q", "w_k", "w_v", "w_concat"):
            affine(f"{at}.enc_dec_attention.{name}", 64, 64)
        for name in ("norm1", "norm2"):
            state[f"{at}.{name}.gamma"] = 1 + 0.2 * rng.normal(size=64)
            state[f"{at}.{name}.beta"] = 0.2 * rng.normal(size=64)
        affine(f"{at}.ffn.linear1", 128, 64)
        affine(f"{at}.ffn.linear2", 64, 128)
    for name, size in HEADS.items():
        affine(f"{name}.1", 128, 64)
        affine(f"{name}.3", size, 128)
    for index, (into, out) in zip((0, 2, 4, 6), ((width, 32), (32, 32), (32, 64), (64, 64)), strict=True):
        affine(f"audio_net.encoder_conv.{index}", out, into, 3)
    affine("audio_net.encoder_fc1.0", 64, 64)
    affine("audio_net.encoder_fc1.2", 32, 64)
    for index, (into, out) in zip((0, 2, 4, 6, 8), ((32, 16), (16, 8), (8, 4), (4, 2), (2, 1)), strict=True):
        affine(f"audio_att_net.attentionConvNet.{index}", out, into, 3)
    affine("audio_att_net.attentionNet.0", 8, 8)
    for name, into in {"audio_mlp": 32, "eye_mlp": 32, "cam_mlp": 12}.items():
        affine(f"{name}.net.0", 64, into, bias=False)
        affine(f"{name}.net.1", 64, 64, bias=False)
    state["null_vector"] = rng.normal(size=(1, 1, 64))
    affine("enc_x_mlp.net.0", 64, 32, bias=False)
    state["pos_poc"] = rng.normal(size=10)
    return state


def tensors(state: State, prefix: str = "deformation_net.") -> dict[str, torch.Tensor]:
    return {prefix + name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}


def random_points(count: int = 200) -> Gaussians:
    dice = torch.Generator().manual_seed(4)
    return Gaussians(
        xyz=0.5 * torch.randn(count, 3, generator=dice),
        log_scales=torch.full((count, 3), -2.0) + 0.3 * torch.randn(count, 3, generator=dice),
        quats=torch.randn(count, 4, generator=dice),
        opacity_logits=torch.randn(count, generator=dice),
        sh=0.3 * torch.randn(count, 16, 3, generator=dice),
        head_weight=torch.ones(count),
        audio_gate=torch.ones(count),
    )


def write_model(folder: Path, state: dict[str, torch.Tensor], iteration: str = "iteration_10000") -> Path:
    """A model folder as the published training leaves it."""
    inner = folder / "point_cloud" / iteration
    inner.mkdir(parents=True)
    write_ply(inner / "point_cloud.ply", random_points(), strict=True)
    torch.save(state, inner / "deformation.pth")
    return folder


def write_footage(folder: Path, width: int = 29, frames: int = 60, size: tuple[int, int] = (64, 48)) -> Path:
    """What of a training dataset an import reads: tracking, camera, blinks, plate, torso, feature windows."""
    rng = np.random.default_rng(6)
    folder.mkdir()
    time = np.arange(frames) / 25
    euler = np.stack([0.1 * np.sin(time), 0.2 * np.cos(2 * time), 0.05 * np.sin(3 * time)], axis=1)
    trans = np.stack([0.1 * np.sin(time), 0.05 * np.cos(time), np.full(frames, -7.0)], axis=1)
    entries = {"id": rng.normal(size=(1, 100)), "exp": rng.normal(size=(frames, 79)), "euler": euler, "trans": trans}
    tracked = {name: torch.tensor(value, dtype=torch.float32) for name, value in entries.items()}
    torch.save(tracked | {"focal": torch.tensor([150.0])}, folder / "track_params.pt")
    poses = pose_of_tracking(euler, trans)
    listed = [
        {"img_id": i, "aud_id": i, "transform_matrix": camera_to_world(poses[i]).tolist()} for i in range(frames - 5)
    ]
    document = {"focal_len": 150.0, "cx": size[0] / 2, "cy": size[1] / 2, "frames": listed}
    (folder / "transforms_train.json").write_text(json.dumps(document))
    rows = [f"{i + 1}, {i / 25:.3f}, 0.98, 1, {2.5 * (i % 20 == 3):.2f}" for i in range(frames)]
    (folder / "au.csv").write_text("\n".join(["frame, timestamp, confidence, success, AU45_r", *rows]) + "\n")
    plate = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(plate).save(folder / "bc.jpg", quality=100, subsampling=0)
    name = "aud_ds.npy" if width == 29 else "aud_eo.npy"
    np.save(folder / name, rng.normal(size=(frames - 2, 16, width)))
    return folder


def face_info(points: int = 700) -> dict[str, np.ndarray]:
    """A small stand-in of the right form for what is made of BFM 2009: an ellipsoid, random directions."""
    rng = np.random.default_rng(8)
    sphere = rng.normal(size=(points, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    mean = (sphere * [0.7, 0.95, 0.8] + [0.0, 0.1, 0.3]) * 1e5
    return {
        "mu_shape": mean.reshape(-1),
        "b_shape": rng.normal(size=(199, 3 * points)) / points,
        "sig_shape": rng.uniform(1e3, 1e5, 199),
        "mu_exp": rng.normal(size=3 * points) * 100,
        "b_exp": rng.normal(size=(79, 3 * points)) / points,
        "sig_exp": rng.uniform(1e3, 1e5, 79),
        "b_tex": rng.normal(size=(199, 3)),
        "mu_tex": rng.normal(size=3),
        "sig_tex": rng.normal(size=199),
    }
