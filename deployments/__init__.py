"""The Ray Serve graph: AudioEncoder -> Renderer -> Refiner, behind an Ingress that holds all state."""

from __future__ import annotations

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()
