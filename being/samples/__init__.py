"""Sound that ships with the package, so that a first video needs no file of one's own."""

from __future__ import annotations

from pathlib import Path

HELLO = Path(__file__).with_name("hello.wav")
"""One sentence of espeak-ng (voice en-US, variant f2), 16 kHz mono."""
