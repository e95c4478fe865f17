"""How large a message between two replicas may be.

Frames travel by value. Ray's own bound, 4 MiB, is passed by eleven frames of 512x512: gRPC then refuses the answer, the
tick is lost, and the next one, late for it, is larger still.
"""

from __future__ import annotations

from typing import Any

VARIABLE = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"  # read where Ray Serve is imported
LARGEST = (1 << 31) - 1  # bytes, the most that gRPC takes


def receive_large_answers() -> None:
    """Let this replica receive answers of any size, also where Ray was started without `VARIABLE`, as by `serve run`.

    What a replica is sent, as a refiner of its own is frames, stays bounded as the environment had it.
    """
    try:
        from ray.serve._private.request_router import replica_wrapper
    except ImportError:  # another Ray than the one this was written for: the environment must say it
        return
    replaceable: Any = replica_wrapper
    replaceable.RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH = LARGEST
