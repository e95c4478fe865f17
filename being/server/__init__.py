"""The live server without HTTP: frame loop, client sessions, registry, admission, metrics, limits."""
