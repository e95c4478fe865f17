"""The synthetic person: an animated head and shoulders with exact truth, to train, to test and to show."""

from __future__ import annotations

from being.synthetic.frame import FrameTruth, SyntheticFrame, frame_truth, render_frame
from being.synthetic.generate import generate
from being.synthetic.performance import Performance, listen, perform, plan, render
from being.synthetic.rig import FaceState
from being.synthetic.voice import speak

__all__ = [
    "FaceState",
    "FrameTruth",
    "Performance",
    "SyntheticFrame",
    "frame_truth",
    "generate",
    "listen",
    "perform",
    "plan",
    "render",
    "render_frame",
    "speak",
]
