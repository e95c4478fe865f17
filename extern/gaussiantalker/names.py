"""Which published tensor is which of ours."""

from __future__ import annotations

PREFIX = "deformation_net."

# Saved by the published code, never read when rendering.
UNUSED = (
    "aud_ch_att_net.",
    "eye_att_net.",
    "enc_x_mlp.",
    "pos_poc",
    "rotation_scaling_poc",
    "opacity_poc",
)

_OFFSET_HEADS = {
    "pos_deform": "xyz",
    "scales_deform": "log_scales",
    "rotations_deform": "quats",
    "opacity_deform": "opacity_logits",
    "shs_deform": "sh",
}
_TRUNK_HEADS = {"scales": "log_scales", "rotations": "quats", "opacity": "opacity_logits", "shs": "sh"}


def published_names(levels: int, layers: int) -> dict[str, str]:
    """Our state-dict name of each published name (without prefix) of a network of that many levels and layers."""
    names = {"tri_plane.grid.aabb": "triplane.aabb", "null_vector": "null_token"}
    for level in range(levels):
        for plane in range(3):
            names[f"tri_plane.grid.grids.{level}.{plane}"] = f"triplane.levels.{level}.{plane}"

    def affine(theirs: str, ours: str) -> None:
        for part in ("weight", "bias"):
            names[f"{theirs}.{part}"] = f"{ours}.{part}"

    for index in (0, 2):
        affine(f"tri_plane.feature_out.{index}", f"trunk.features.{index}")
    for theirs, ours in _TRUNK_HEADS.items():
        for index in (1, 3):
            affine(f"tri_plane.{theirs}.{index}", f"trunk.heads.{ours}.{index}")
    for theirs, ours in _OFFSET_HEADS.items():
        for index in (1, 3):
            affine(f"{theirs}.{index}", f"heads.{ours}.{index}")
    for layer in range(layers):
        theirs, ours = f"transformer.layers.{layer}", f"layers.{layer}"
        for part, name in (("w_q", "query"), ("w_k", "key"), ("w_v", "value"), ("w_concat", "output")):
            affine(f"{theirs}.enc_dec_attention.{part}", f"{ours}.{name}")
        for norm, name in (("norm1", "norm_attention"), ("norm2", "norm_ffn")):
            names[f"{theirs}.{norm}.gamma"] = f"{ours}.{name}.weight"
            names[f"{theirs}.{norm}.beta"] = f"{ours}.{name}.bias"
        affine(f"{theirs}.ffn.linear1", f"{ours}.ffn_in")
        affine(f"{theirs}.ffn.linear2", f"{ours}.ffn_out")
    for index in (0, 2, 4, 6):
        affine(f"audio_net.encoder_conv.{index}", f"audio_net.convolutions.{index}")
    for index in (0, 2):
        affine(f"audio_net.encoder_fc1.{index}", f"audio_net.code.{index}")
    for index in (0, 2, 4, 6, 8):
        affine(f"audio_att_net.attentionConvNet.{index}", f"audio_attention.scores.{index}")
    affine("audio_att_net.attentionNet.0", "audio_attention.weights")
    for theirs, ours in (("audio_mlp", "audio_token"), ("eye_mlp", "eye_token"), ("cam_mlp", "camera_token")):
        names[f"{theirs}.net.0.weight"] = f"{ours}.into.weight"
        names[f"{theirs}.net.1.weight"] = f"{ours}.out.weight"
    return names
