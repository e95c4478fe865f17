"""What renders on which device: PyTorch, CPU kernels, GPU kernels."""
