"""The Ray Serve graph: AudioEncoder -> Renderer -> Refiner, behind an Ingress that holds all state."""
