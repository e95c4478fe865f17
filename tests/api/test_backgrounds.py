"""Pictures behind the avatar: sent, made small, shown, and refused where they are none."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from support.api_server import Server, wav

from being.server.backgrounds import KEPT, Backgrounds
from being.server.limits import ServingLimits
from being.server.problems import Problem

GREEN = (20, 180, 60)


def picture(width: int, height: int, format: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), GREEN if mode == "RGB" else 0).save(file, format, **options)
    return file.getvalue()


def made(server: Server, content: bytes) -> httpx.Response:
    with server.client() as client:
        return client.post("/v1/backgrounds", content=content)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_stands_behind_the_avatar(server: Server, format: str) -> None:
    answer = made(server, picture(90, 60, format))
    assert answer.status_code == 201 and (answer.json()["width"], answer.json()["height"]) == (90, 60)
    with server.client() as client:
        film = client.post(
            "/v1/avatars/tiny/speak", params={"background": answer.json()["background"]}, content=wav(0.2)
        )
        assert film.status_code == 200, film.text
    with av.open(io.BytesIO(film.content)) as container:
        corner = next(container.decode(video=0)).to_ndarray(format="rgb24")[2, 2].astype(int)
    assert np.abs(corner - GREEN).max() < 16


def test_a_phone_photo_is_turned_upright_and_made_small(server: Server) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    answer = made(server, picture(3000, 1000, "JPEG", exif=exif)).json()
    assert answer["height"] == server.service.limits.side and answer["width"] == round(answer["height"] / 3)


def test_a_form_is_taken(server: Server) -> None:
    with server.client() as client:
        assert client.post("/v1/backgrounds", files={"picture": picture(8, 8)}).status_code == 201
        assert client.post("/v1/backgrounds", files={"audio": picture(8, 8)}).status_code == 400


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"no picture", 422),
        (picture(40, 40)[:60], 422),
        (picture(8, 8, "GIF"), 422),  # a format nobody needs here is one decoder less to attack
        (picture(9000, 6000, mode="1"), 422),  # few bytes, and a hundred and fifty megabytes to read
    ],
)
def test_what_is_no_picture_is_refused(server: Server, content: bytes, status: int) -> None:
    answer = made(server, content)
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"


def test_a_large_file_is_refused(serve: Callable[..., Server]) -> None:
    assert made(serve(ServingLimits(picture_bytes=100)), picture(300, 300)).status_code == 413


def test_an_unknown_picture_is_refused(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/v1/avatars/tiny/speak?background=picture:0123456789abcdef", content=wav(0.2))
        assert answer.status_code == 422 and "/v1/backgrounds" in answer.json()["remedy"]


def test_only_so_many_pictures_are_kept() -> None:
    async def scenario() -> None:
        backgrounds = Backgrounds(side=500)
        names = [(await backgrounds.add(io.BytesIO(picture(side, 2)))).background for side in range(1, KEPT + 2)]
        with pytest.raises(Problem, match="any more"):
            backgrounds.named(names[0])
        assert all(backgrounds.named(name) == backgrounds.live(name) for name in names[1:])
        with pytest.raises(Problem, match="transparent"):
            backgrounds.live("none")

    asyncio.run(scenario())
