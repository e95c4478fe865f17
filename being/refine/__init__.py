"""Frame stages that make a rendered frame photographic."""
