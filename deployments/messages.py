"""What the renderer answers besides frames; data, for exceptions lose their fields between processes."""

from __future__ import annotations

from dataclasses import dataclass

from being.errors import BeingError, FormatError, InputError


@dataclass(frozen=True)
class Refusal:
    """Why an avatar cannot be played."""

    damaged: bool
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: BeingError) -> Refusal:
        return cls(isinstance(error, FormatError), error.problem, error.remedy)

    def error(self) -> BeingError:
        return (FormatError if self.damaged else InputError)(self.problem, self.remedy)


@dataclass(frozen=True)
class ChannelAddress:
    """Where a renderer can be reached from its own node.

    node : id of the node as Ray has it; "" where the renderer cannot be reached so. path : of its socket.
    ticket : to be shown there. workers : how many channels for live frames lead there, this one among them if it is
    one.
    """

    node: str
    path: str
    ticket: str
    workers: int = 1
