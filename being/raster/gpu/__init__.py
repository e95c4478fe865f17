"""Triton kernels: splats in camera space to pictures, forward only, without a wait for the GPU."""
