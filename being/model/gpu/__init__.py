"""Triton kernels of the deformation network."""
