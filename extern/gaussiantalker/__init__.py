"""GaussianTalker checkpoints: read a published state dict as Being's deformation network."""

from extern.gaussiantalker.network import PublishedNetwork, load_network

__all__ = ["PublishedNetwork", "load_network"]
