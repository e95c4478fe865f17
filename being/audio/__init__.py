"""Sound -> feature windows: what drives the face."""
