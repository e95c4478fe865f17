"""The avatar's model: canonical Gaussians, and the network that deforms them for one frame.

Read in the order the data flows: `gaussians`, `triplane`, `audio_net`, `attention`, `network`, `deform`;
`fast` holds the CPU twins used live.
"""

from being.model.deformation import Deformed, assemble, deform, pose_splats
from being.model.gaussians import Gaussians
from being.model.network import Conditions, DeformationNetwork, NetworkConfig, Offsets, camera_code
from being.model.ply import load_ply, save_ply
from being.model.weights import load_network, save_network

__all__ = [
    "Conditions",
    "DeformationNetwork",
    "Deformed",
    "Gaussians",
    "NetworkConfig",
    "Offsets",
    "assemble",
    "camera_code",
    "deform",
    "load_network",
    "load_ply",
    "pose_splats",
    "save_network",
    "save_ply",
]
