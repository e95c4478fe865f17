"""The way between a session worker and a renderer of one node: requests by a Unix socket, frames by shared memory."""
