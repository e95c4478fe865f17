"""Footage: a film of a talking person as frames at 25 a second with its sound on the same clock, seen through a square.

`being.media` reads; here is what a capture asks of a film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.capture.video.crop import Crop
from being.capture.video.sound import FilmSound, film_sound
from being.errors import InputError
from being.media.reading.film_reader import Film, Frame, open_film
from being.media.reading.notes import Note

SHORTEST_S = 3.0  # footage shorter than this teaches nothing
LONGEST_S = 1800.0


@dataclass(frozen=True)
class Footage:
    """An opened video.

    Attributes
    ----------
    film : the video. crop : the part of it that is seen, and size : the width and height it is scaled to; None: all.
    """

    film: Film
    crop: Crop | None = None
    size: tuple[int, int] | None = None

    @property
    def path(self) -> Path:
        return self.film.path

    @property
    def width(self) -> int:
        """Pixels of the frames that iterating yields, upright."""
        return self.size[0] if self.size else self.film.width

    @property
    def height(self) -> int:
        return self.size[1] if self.size else self.film.height

    @property
    def frames(self) -> int:
        """How many iterating yields, at 25 a second."""
        return self.film.frames

    @property
    def duration_s(self) -> float:
        return self.film.duration_s

    def __len__(self) -> int:
        return self.frames

    def cropped(self, crop: Crop, size: tuple[int, int]) -> Footage:
        """The same footage seen through a crop of the upright video, scaled to a size (width, height)."""
        if self.crop is not None:
            raise ValueError("this footage is cropped already")
        if crop.x0 < 0 or crop.y0 < 0 or crop.x0 + crop.width > self.width or crop.y0 + crop.height > self.height:
            raise ValueError(f"{crop} leaves the {self.width}x{self.height} picture")
        return replace(self, crop=crop, size=size)

    def __iter__(self) -> Iterator[Frame]:
        """`frames` pictures, uint8 RGB (height, width, 3). Raises InputError where less than half can be decoded."""
        return (make() for make in self.later())

    def later(self) -> Iterator[Callable[[], Frame]]:
        """The same pictures, each made when it is called for, on whatever thread: see `Film.later`."""
        return self.film.later(self._seen)

    def _seen(self, picture: Frame) -> Frame:
        if self.crop is None or self.size is None:
            return picture
        crop = self.crop
        part = np.ascontiguousarray(picture[crop.y0 : crop.y0 + crop.height, crop.x0 : crop.x0 + crop.width])
        if (crop.width, crop.height) == self.size:
            return part
        return np.asarray(Image.fromarray(part).resize(self.size, Image.Resampling.BICUBIC))

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a person should know about the film, as far as it was read."""
        return self.film.told()

    def sound(self) -> NDArray[np.float32]:
        """16 kHz mono in [-1, 1], exactly 640 samples a frame; sample 0 sounds when frame 0 is shown."""
        return self.heard().samples

    def heard(self, track: int | None = None) -> FilmSound:
        """The same with what is to be known about it. Parameters and errors as `film_sound`."""
        return film_sound(self.path, self.film.start_s, self.duration_s, track)


def open_footage(
    path: str | Path,
    start_s: float | None = None,
    end_s: float | None = None,
    shortest_s: float = SHORTEST_S,
    longest_s: float = LONGEST_S,
) -> Footage:
    """Check a video, or its part from `start_s` to `end_s`, and prepare to read it.

    Raises
    ------
    InputError
        Not there, not a video, cut off, without sound, shorter than `shortest_s` or longer than `longest_s`.
    """
    film = open_film(path, start_s, end_s, longest_s)
    if not film.index.sounds:
        raise InputError(f"{path} has no sound", "Film again with the microphone on: the speech drives the mouth")
    if film.duration_s < shortest_s:
        raise InputError(
            f"{path} lasts {film.duration_s:.1f} s, at least {shortest_s:g} s are needed", "Film a minute or more"
        )
    return Footage(film)
