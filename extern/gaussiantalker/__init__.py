"""GaussianTalker: a trained one becomes an avatar; our Gaussians become the PLY it reads."""

from being.extern.gaussiantalker.checkpoint import Checkpoint, find_checkpoint, read_checkpoint
from being.extern.gaussiantalker.convert import Scene, find_windows, read_scene, to_avatar
from being.extern.gaussiantalker.network import PublishedNetwork, load_network
from being.extern.gaussiantalker.standard import write_ply

__all__ = [
    "Checkpoint",
    "PublishedNetwork",
    "Scene",
    "find_checkpoint",
    "find_windows",
    "load_network",
    "read_checkpoint",
    "read_scene",
    "to_avatar",
    "write_ply",
]
