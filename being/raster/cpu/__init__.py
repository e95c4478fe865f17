"""The numba kernels: splats on a CPU, forward and backward."""
