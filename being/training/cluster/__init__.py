"""Training as a job on a Ray cluster."""
