"""The Ray Serve graph: AudioEncoder -> Renderer -> Refiner, behind an Ingress that holds all state."""

from __future__ import annotations

import os

# Idle OpenMP threads that spin take the cores from the threads that draw; torch reads this when a worker loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
