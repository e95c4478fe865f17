"""A port that old connections still hold can be bound by the ingress; one that somebody listens on cannot."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("ray")

from being.deployments.port import take_port_again


def left_waiting() -> int:
    """A port in TIME_WAIT: its server closed a connection first, and then stopped listening."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    return port


def test_a_waiting_port_is_taken_and_a_used_one_refused() -> None:
    from ray.serve._private import http_util

    port = left_waiting()
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    take_port_again()
    family, kind = http_util.socket.AF_INET, http_util.socket.SOCK_STREAM
    with http_util.socket.socket(family, kind) as ours:
        ours.bind(("127.0.0.1", port))
        ours.listen()
        with http_util.socket.socket(family, kind) as second, pytest.raises(OSError, match="in use"):
            second.bind(("127.0.0.1", port))
