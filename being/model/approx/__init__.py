"""The deformation network on a CPU: an exact fused twin, three approximations, and posing, without PyTorch.

    deformer = make_deformer("distilled", network, gaussians)
    canonical, offsets = CanonicalBlocks.of(gaussians, deformer), offset_buffer(deformer)
    splats = SplatArrays.empty(gaussians.count)
    assemble_numpy(canonical, deformer(tokens, offsets), head_pose, torso_pose, splats)  # each frame

Kernels are compiled at first use (5 s) and cached beside this file.
"""

from being.model.approx.approximation import FORMS, Form, make_deformer
from being.model.approx.assemble import CanonicalBlocks, SplatArrays, assemble_numpy
from being.model.approx.deformer import Deformer, offset_buffer

__all__ = [
    "FORMS",
    "CanonicalBlocks",
    "Deformer",
    "Form",
    "SplatArrays",
    "assemble_numpy",
    "make_deformer",
    "offset_buffer",
]
