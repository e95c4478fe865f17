"""Live sessions over a real WebSocket: stream, events, controls, coming back, going away, and nonsense."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import av
import numpy as np
import pytest
from PIL import Image
from support.api_server import Server, eventually, tone
from support.listener import live
from websockets.exceptions import ConnectionClosed

from being.server.client_stream import JPEG_HEAD
from being.server.limits import ServingLimits


def settled(server: Server) -> bool:
    """Whether the server has no sessions left."""
    return not server.service.sessions.all()


def test_idle_avatar_is_alive_at_once(server: Server) -> None:
    with live(server) as client:
        ready = client.event("ready")
        assert ready["look_ahead_ms"] > 40 and ready["fps"] == 25
        client.until(lambda: client.of("stats") and len(client.pieces) > 60)
    frames, sound = client.film()
    assert frames == sorted(set(frames)) and len(frames) > 20
    assert np.abs(sound).max() < 1e-3, "an idle avatar is silent"
    eventually(lambda: settled(server))


def test_speech_is_heard_where_the_events_say(server: Server) -> None:
    with live(server, sample_rate=24000) as client:
        client.event("started")
        pcm = tone(5.0, 24000)
        cuts = [0, *range(200_001, len(pcm), 777), len(pcm)]  # odd sizes: samples are cut in two
        for start, stop in pairwise(cuts):  # the first is over 4 s long: those after it must come within that time
            client.socket.send(pcm[start:stop])
        client.say(type="end")
        speaking = client.event("speaking")
        idle = client.event("idle")
        first = client.of("started")[0]["frame"]
        # Events overtake the stream, which must be encoded first: listen until it is past the end of the speech.
        client.until(lambda: len(client.pieces) % 25 == 0 and first + len(client.film()[0]) > idle["frame"] + 5)
    _, sound = client.film()
    loud = first + np.flatnonzero(np.abs(sound) > 0.02) / 1920  # frames
    assert loud.max() - loud.min() == pytest.approx(5.0 * 25, abs=1.5)
    # Events name the first frame of a tick, which on a busy machine is several frames long.
    assert speaking["frame"] - 1 <= loud.min() and loud.max() < idle["frame"]
    assert idle["frame"] - speaking["frame"] > 115


def test_interrupt_silences_and_shuts(server: Server) -> None:
    with live(server) as client:
        first = client.event("started")["frame"]
        client.socket.send(tone(6.0))
        client.event("speaking")
        said = len(client.pieces)
        client.until(lambda: len(client.pieces) > said + 20)
        client.say(type="interrupt")
        cut = client.event("interrupted")
        assert cut["generation"] == 1
        told = len(client.of("stats"))
        client.until(lambda: len(client.of("stats")) >= told + 3)
        client.until(lambda: len(client.pieces) % 25 == 0 and first + len(client.film()[0]) > cut["frame"] + 25)
        assert client.of("stats")[-1]["buffered_s"] == 0
    _, sound = client.film()
    after = sound[round((cut["frame"] - first + 0.5) * 1920) :]  # the cut itself fades over a quarter of a frame
    assert len(after) > 48_000 // 2 and np.abs(after).max() < 0.01


def test_jpeg_pictures_and_pcm(server: Server) -> None:
    with live(server, format="jpeg", width=96, height=80) as client:
        client.event("ready")
        client.until(lambda: len(client.pieces) > 40)
    kinds = {JPEG_HEAD.unpack_from(piece)[0] for piece in client.pieces}
    assert kinds == {b"JPEG", b"PCM "}
    pictures = [piece for piece in client.pieces if piece[:4] == b"JPEG"]
    numbers = [JPEG_HEAD.unpack_from(piece)[1:] for piece in pictures]
    assert all(
        microseconds == 40_000 * (frame - numbers[0][0] + numbers[0][1] // 40_000) for frame, microseconds in numbers
    )
    assert Image.open(io.BytesIO(pictures[0][JPEG_HEAD.size :])).size == (96, 80)


def test_configure_changes_the_stream(server: Server) -> None:
    with live(server) as client:
        client.event("ready")
        client.say(type="configure", background="#ff0000", emotion={"happy": 1.0})
        client.say(type="configure", width=128, height=96)
        client.until(lambda: len(client.of("ready")) == 2)
        assert client.of("ready")[1]["width"] == 128
        client.pieces.clear()
        client.until(lambda: len(client.pieces) > 30)
        with av.open(io.BytesIO(b"".join(client.pieces))) as film:
            frame = list(film.decode(video=0))[-1]
        assert (frame.width, frame.height) == (128, 96)
        red, green, _ = frame.to_ndarray(format="rgb24")[3, 3]
        assert red > 200 and green < 60


def test_a_picture_sent_before_stands_behind_it(server: Server) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(photo, "PNG")
    with server.client() as client:
        name = client.post("/v1/backgrounds", content=photo.getvalue()).json()["background"]
    with live(server, format="jpeg") as client:
        client.event("ready")
        client.say(type="configure", background=name)

        def red() -> bool:
            pictures = [piece for piece in client.pieces if piece[:4] == b"JPEG"]
            if not pictures:
                return False
            corner = Image.open(io.BytesIO(pictures[-1][JPEG_HEAD.size :])).getpixel((2, 2))
            return corner[0] > 200 and corner[1] < 60

        client.until(red)


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "[1]",
        '{"type": "dance"}',
        '{"type": "configure", "width": -2}',
        '{"type": "configure", "width": 5000}',
        '{"type": "configure", "background": "/etc/passwd"}',
        '{"type": "configure", "background": "none"}',
        '{"type": "configure", "background": "picture:0123456789abcdef"}',
        '{"type": "configure", "sample_rate": 47999}',
        '{"type": "configure", "emotion": {"furious": 1}}',
        '{"type": "received", "bytes": "many"}',
        "[" * 100_000,
    ],
)
def test_nonsense_is_answered_and_survived(server: Server, text: str) -> None:
    with live(server) as client:
        client.event("ready")
        client.socket.send(text)
        error = client.event("error")
        assert error["fatal"] is False and error["problem"]["detail"]
        before = len(client.pieces)
        client.until(lambda: len(client.pieces) > before + 5)


def test_endless_nonsense_ends_the_session(server: Server) -> None:
    with live(server) as client:
        client.event("ready")
        with suppress(ConnectionClosed):  # it may have ended before the last of them; `recv` tells why
            for _ in range(60):
                client.socket.send("{")
        client.until(lambda: client.code is not None)
        assert client.code == 1008
    eventually(lambda: settled(server))


def test_large_message_closes(server: Server) -> None:
    with live(server) as client:
        client.event("ready")
        with suppress(ConnectionClosed):  # it may have ended before the last byte
            client.socket.send(bytes(2 << 20))
        client.until(lambda: client.code is not None)
        assert client.code == 1009 and client.of("error")[-1]["fatal"]
    eventually(lambda: settled(server))


def test_more_sound_than_can_wait_is_refused(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(buffered_s=3.0, gone_s=600.0))
    with live(server) as client:
        client.event("ready")
        client.socket.send(tone(2.0))
        client.socket.send(tone(4.0))
        error = client.event("error")
        assert error["problem"]["status"] == 413 and not error["fatal"]
        client.event("speaking")


@pytest.mark.parametrize(("avatar", "query", "code"), [("nobody", {}, 4404), ("tiny", {"width": 3}, 4422)])
def test_refusals_are_told(server: Server, avatar: str, query: dict[str, object], code: int) -> None:
    with live(server, avatar, **query) as client:
        client.until(lambda: client.code is not None)
        assert client.code == code and client.of("error")[0]["problem"]["status"] == code - 4000


def test_full_server_says_when_to_come_back(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(sessions=1, gone_s=600.0))
    with live(server) as first:
        first.event("ready")
        with live(server) as second:
            second.until(lambda: second.code is not None)
            assert second.code == 1013
            problem = second.of("error")[0]["problem"]
            assert problem["status"] == 503 and problem["retry_after"] > 0
    eventually(lambda: settled(server))
    with live(server) as third:
        third.event("ready")


def test_lost_clients_give_way_to_new_ones(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(sessions=1, gone_s=600.0))
    with live(server) as client:
        client.event("ready")
        client.vanish()
    eventually(lambda: server.service.sessions.waiting == 1)
    with live(server) as client:
        client.event("ready")
        assert len(server.service.sessions.all()) == 1


def test_lost_client_comes_back_with_its_token(server: Server) -> None:
    with live(server) as client:
        ready = client.event("ready")
        client.socket.send(tone(8.0))
        client.event("speaking")
        client.vanish()  # the network is gone; no goodbye
    eventually(lambda: server.service.sessions.get(ready["session"]).info().state == "waiting")
    with live(server, session=ready["session"], token="wrong") as stranger:
        assert stranger.event("ready")["session"] != ready["session"]
    with live(server, session=ready["session"], token=ready["token"]) as client:
        again = client.event("ready")
        assert again["session"] == ready["session"]
        assert client.event("started")["frame"] > 0
        assert client.event("stats")["buffered_s"] > 1, "what was being said goes on"


def test_second_connection_takes_over(server: Server) -> None:
    with live(server) as old:
        ready = old.event("ready")
        with live(server, session=ready["session"], token=ready["token"]) as new:
            assert new.event("ready")["session"] == ready["session"]
            new.until(lambda: len(new.pieces) > 10)
            assert len(server.service.sessions.all()) == 1
    eventually(lambda: settled(server))


def test_silent_client_is_let_go(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(gone_s=1.0))
    with live(server) as client:
        client.event("ready")
        client.until(lambda: client.code is not None, acknowledge=False)
        assert client.code == 1008
    eventually(lambda: settled(server))


def test_unacknowledged_stream_stops(serve: Callable[..., Server]) -> None:
    """A slow client costs a window of bytes, not memory without end."""
    server = serve(ServingLimits(window_bytes=20_000, gone_s=3.0))
    with live(server) as client:
        client.event("ready")
        speaking = threading.Event()

        def talk() -> None:
            while not speaking.wait(0.2):
                try:
                    client.socket.send(tone(0.2))
                except ConnectionClosed:
                    return

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        client.until(lambda: client.code is not None, acknowledge=False)
        speaking.set()
        thread.join()
        assert client.code == 1008
        assert sum(map(len, client.pieces)) < 40_000


def test_many_connects_and_drops_leave_nothing(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(gone_s=0.5))
    with live(server) as client:
        client.event("ready")
    eventually(lambda: settled(server))
    threads = threading.active_count()
    for number in range(20):
        with live(server) as client:
            client.event("ready")
            if number % 2:
                client.vanish()
    eventually(lambda: settled(server))
    assert threading.active_count() <= threads + 4  # the encoding pool
    assert server.service.frame_loop.scheduler.sessions == []
