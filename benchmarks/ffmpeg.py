"""ffmpeg, which makes the files of `inputs.py` and says what is in them."""

from __future__ import annotations

import subprocess
from importlib import metadata


def ff(*arguments: object) -> None:
    """ffmpeg, quietly; its own message where it fails."""
    command = ["ffmpeg", "-y", "-nostdin", "-v", "error", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")


def versions() -> dict[str, str]:
    """What was compared."""
    said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.split("\n")[0]
    return {"ffmpeg": said, "av": metadata.version("av")}
