"""A published GaussianTalker state dict as a `DeformationNetwork`, and the published call around it.

The published emotionless network becomes ours exactly: the emotion token is added with weight zero, so the imported
avatar can be trained further, and renders as before until it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from being.extern.gaussiantalker.names import PREFIX, UNUSED, published_names
from pydantic import ValidationError
from torch import Tensor, nn

from being.errors import FormatError, InputError
from being.model.network import CAMERA_CODE, Conditions, DeformationNetwork, NetworkConfig
from being.model.weights import check_finite

PUBLISHED_HEADS = 2  # of the attention; the one size that no tensor's shape shows
MAX_LEVELS = 8
MAX_LAYERS = 4


class PublishedNetwork(nn.Module):
    """The published calling convention over `network`, Being's own module."""

    def __init__(self, network: DeformationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        xyz: Tensor,
        scales: Tensor,
        rotations: Tensor,
        opacity: Tensor,
        shs: Tensor,
        audio: Tensor,
        eye: Tensor,
        cam: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Deform N Gaussians for B frames.

        Parameters
        ----------
        xyz (N, 3), scales (N, 3) log, rotations (N, 4), opacity (N, 1) logit, shs (N, 16, 3) : canonical.
        audio : (B, 8, D, 16): frames, feature width, window steps, as published (Being stores steps before width).
        eye : (B, 1).
        cam : (B, 12) camera code.

        Returns
        -------
        The same five with a leading B, canonical + offset, before activation.

        Raises
        ------
        InputError
            Canonical attributes whose shapes do not belong together, or conditions of a wrong shape.
        """
        count = xyz.shape[0]
        given = {"xyz": xyz, "scales": scales, "rotations": rotations, "opacity": opacity, "shs": shs}
        expected = {"xyz": (3,), "scales": (3,), "rotations": (4,), "opacity": (1,), "shs": (16, 3)}
        for name, value in given.items():
            if tuple(value.shape) != (count, *expected[name]):
                raise InputError(f"{name} has shape {tuple(value.shape)}, expected {(count, *expected[name])}")
        offsets = self.network(xyz, Conditions(audio.transpose(-1, -2), eye, cam))
        return (
            xyz + offsets.xyz,
            scales + offsets.log_scales,
            rotations + offsets.quats,
            opacity + offsets.opacity_logits.unsqueeze(-1),
            shs + offsets.sh,
        )


def load_network(state_dict: Mapping[str, Tensor]) -> PublishedNetwork:
    """Build the network a published `deformation.pth` describes; sizes are read off the tensors.

    Parameters
    ----------
    state_dict : name -> tensor, names with or without the prefix `deformation_net.`. Load the file with
        `torch.load(path, weights_only=True, map_location="cpu")`, never without.

    Returns
    -------
    PublishedNetwork in eval mode, on the CPU, float32.

    Raises
    ------
    FormatError
        A tensor that is missing, unknown, misshapen or not finite; its published name is in the message.
    """
    theirs = _stripped(state_dict)
    config = _config(theirs)
    network = DeformationNetwork(config)
    own = network.state_dict()
    names = published_names(len(config.plane_resolutions), config.layers)
    for name, ours in names.items():
        value = _tensor(theirs, name)
        shape = (1, 1, config.width) if ours == "null_token" else tuple(own[ours].shape)
        if tuple(value.shape) != shape:
            raise FormatError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
        check_finite(name, value)
        own[ours] = value.float().reshape(own[ours].shape)
    unknown = sorted(name for name in theirs if name not in names and not name.startswith(UNUSED))
    if unknown:
        raise FormatError(
            f"{unknown[0]} is not a tensor of the published network", "Its configuration is not supported"
        )
    network.load_state_dict(own)
    return PublishedNetwork(network).eval()


def _stripped(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(state_dict, Mapping):
        raise FormatError(f"a state dict is expected, found {type(state_dict).__name__}")
    stripped: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise FormatError(f"{name!r} is a {type(value).__name__}, expected a tensor")
        stripped[name.removeprefix(PREFIX)] = value
    return stripped


def _tensor(theirs: Mapping[str, Tensor], name: str, ndim: int | None = None) -> Tensor:
    if name not in theirs:
        raise FormatError(f"{name} is missing", "A GaussianTalker deformation.pth is expected")
    value = theirs[name]
    if ndim is not None and value.ndim != ndim:
        raise FormatError(f"{name} has {value.ndim} dimensions, expected {ndim}")
    return value


def _config(theirs: Mapping[str, Tensor]) -> NetworkConfig:
    """Sizes as the tensors show them; every tensor's whole shape is compared afterwards."""
    levels = _run_length(theirs, "tri_plane.grid.grids.{}.0", MAX_LEVELS)
    layers = _run_length(theirs, "transformer.layers.{}.enc_dec_attention.w_q.weight", MAX_LAYERS)
    planes = [_tensor(theirs, f"tri_plane.grid.grids.{level}.0", ndim=4) for level in range(levels)]
    aabb = _tensor(theirs, "tri_plane.grid.aabb", ndim=2)
    if tuple(aabb.shape) != (2, 3):
        raise FormatError(f"tri_plane.grid.aabb has shape {tuple(aabb.shape)}, expected (2, 3)")
    check_finite("tri_plane.grid.aabb", aabb)
    camera = _tensor(theirs, "cam_mlp.net.0.weight", ndim=2)
    if camera.shape[1] != CAMERA_CODE:
        raise FormatError(f"cam_mlp.net.0.weight has {camera.shape[1]} inputs, expected {CAMERA_CODE}")
    try:
        return NetworkConfig(
            audio_width=_tensor(theirs, "audio_net.encoder_conv.0.weight", ndim=3).shape[1],
            audio_frames=_tensor(theirs, "audio_att_net.attentionNet.0.weight", ndim=2).shape[0],
            plane_resolutions=tuple(plane.shape[-1] for plane in planes),
            plane_channels=planes[0].shape[1],
            width=_tensor(theirs, "transformer.layers.0.enc_dec_attention.w_q.weight", ndim=2).shape[0],
            heads=PUBLISHED_HEADS,
            layers=layers,
            head_width=_tensor(theirs, "pos_deform.1.weight", ndim=2).shape[0],
            aabb=tuple(tuple(float(number) for number in row) for row in aabb),  # type: ignore[arg-type]
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = f"{field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
        raise FormatError(f"a network of these sizes is not supported: {message}") from error


def _run_length(theirs: Mapping[str, Tensor], pattern: str, most: int) -> int:
    """How many of pattern.format(0), (1), ... are there, 1 to `most`."""
    _tensor(theirs, pattern.format(0))
    length = 1
    while pattern.format(length) in theirs:
        length += 1
        if length > most:
            raise FormatError(f"{pattern.format(most)} is one too many, at most {most} are supported")
    return length
