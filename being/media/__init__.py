"""Pictures and sound to files and streams: one small contract, one file a format."""

from __future__ import annotations

from being.media.contract import StreamFormat, VideoWriter, open_writer

__all__ = ["StreamFormat", "VideoWriter", "open_writer"]
