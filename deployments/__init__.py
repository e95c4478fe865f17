"""The Ray Serve graph: AudioEncoder -> Renderer -> Refiner, behind an Ingress that holds the live sessions, with a
directory of them, Sessions."""

from __future__ import annotations

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()
