"""Pictures to stand behind the avatar: sent once, kept small, named wherever a background is asked for."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import OrderedDict
from typing import BinaryIO

from being.errors import InputError
from being.inference.compositing import Background, PictureFile, Transparent, parse_background
from being.server.problems import Problem
from being.server.schemas import MadeBackground

KEPT = 64  # pictures remembered; a session holds on to its own
PIXELS = 50_000_000  # of an upload: more is no photo
FORMATS = ("JPEG", "PNG", "WEBP")
QUALITY = 88
PREFIX = "picture:"


class LatestPictures:
    """Pictures by their own names, the latest `KEPT`."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, PictureFile] = OrderedDict()

    def keep(self, picture: PictureFile) -> None:
        """Remember a picture under its name."""
        self._pictures[picture.name] = picture
        self._pictures.move_to_end(picture.name)
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)

    def get(self, name: str) -> PictureFile | None:
        """One of them."""
        return self._pictures.get(name)

    def all(self) -> list[PictureFile]:
        """The oldest first."""
        return list(self._pictures.values())


class Backgrounds:
    """The pictures clients have sent.

    Parameters
    ----------
    side : int
        Largest width or height of a picture that is drawn: larger ones are made smaller.
    """

    def __init__(self, side: int) -> None:
        self._side = side
        self.pictures = LatestPictures()
        self._one_at_a_time = asyncio.Lock()  # a large picture takes a hundred megabytes to read

    async def add(self, upload: BinaryIO) -> MadeBackground:
        """Keep a picture; the upload is closed. InputError where it is none."""
        async with self._one_at_a_time:
            data, width, height = await asyncio.to_thread(_packed, upload, self._side)
        digest = hashlib.sha256(data).hexdigest()[:16]
        self.pictures.keep(PictureFile(digest, data))
        return MadeBackground(background=PREFIX + digest, width=width, height=height)

    def named(self, name: str) -> Background:
        """The background of a name that fits the schema; Problem where its picture is not known (any more)."""
        if not name.startswith(PREFIX):
            return parse_background(name)
        picture = self.pictures.get(name.removeprefix(PREFIX))
        if picture is None:
            raise Problem(422, f"there is no background {name!r} any more", "Send the picture to /v1/backgrounds again")
        return picture

    def live(self, name: str) -> Background:
        """As `named`, for live pictures: neither of their formats carries transparency."""
        background = self.named(name)
        if isinstance(background, Transparent):
            raise Problem(422, "a live picture cannot be transparent", "Choose another, or key a colour out")
        return background


def _packed(upload: BinaryIO, side: int) -> tuple[bytes, int, int]:
    """The picture upright, at most `side` pixels a side, as a JPEG file; its width and height."""
    from PIL import Image, ImageOps

    with upload:
        try:
            with Image.open(upload, formats=FORMATS) as picture:
                if picture.width * picture.height > PIXELS:
                    raise InputError(f"the picture is {picture.width}x{picture.height}", "Send a smaller one")
                picture.draft("RGB", (side, side))  # a JPEG need not be decoded at its full size
                upright = ImageOps.exif_transpose(picture)
                upright.thumbnail((side, side), Image.Resampling.LANCZOS)
                flat = upright.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"the upload is not a picture that can be read ({error})", "Send a JPEG or PNG") from None
    file = io.BytesIO()
    flat.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), flat.width, flat.height
