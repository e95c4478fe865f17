"""Pictures and sound to and from bytes: files and streams written, one file a format, and whatever people film read."""

from __future__ import annotations

from being.media.contract import StreamFormat, VideoWriter
from being.media.files import open_writer

__all__ = ["StreamFormat", "VideoWriter", "open_writer"]
