"""Session workers side by side over one directory: a client may reach any of them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image
from support.api_server import PATIENT, Server, eventually, running, tone
from support.listener import live
from support.workers import LocalDirectory

from being.graph.local import InProcessGraph

SPOKEN_S = 6.0
LOW, HIGH = 400.0, 2400.0  # Hz of its pitch


@pytest.fixture
def directory() -> LocalDirectory:
    return LocalDirectory(gone_s=600.0)


@pytest.fixture
def workers(graph: InProcessGraph, directory: LocalDirectory) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(graph, PATIENT, directory=directory, name=name)) for name in ("one", "two")]


def chirp(seconds: float) -> bytes:
    """Sound of which every moment is unlike any other: its pitch rises."""
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * (LOW * time_s + (HIGH - LOW) * time_s**2 / (2 * seconds)))
    return (wave * 32767).astype("<i2").tobytes()


def pitch(sound: np.ndarray) -> np.ndarray:
    """Of each 40 ms of sound at 48 kHz, in seconds of the chirp; NaN where it is silent."""
    frames = sound[: len(sound) // 1920 * 1920].reshape(-1, 1920)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(1920), 19_200))
    hertz = (spectrum[:, int(LOW / 5) :].argmax(1) + int(LOW / 5)) * 2.5  # from half of the lowest on
    return np.where(np.abs(frames).max(1) > 0.05, (hertz - LOW) / (HIGH - LOW) * SPOKEN_S, np.nan)


def test_a_sentence_goes_on_in_another_worker(workers: list[Server]) -> None:
    """Planned stop: what the client hears before and after is the sentence, nothing twice and nothing left out."""
    pcm = chirp(SPOKEN_S)
    with live(workers[0], session="wished-for-0001") as client:
        ready = client.event("ready")
        assert ready["session"] == "wished-for-0001" and ready["taken_bytes"] == 0
        sent = len(pcm) * 2 // 3
        client.socket.send(pcm[:sent])
        client.event("speaking")
        said = len(client.pieces)
        client.until(lambda: len(client.pieces) > said + 20)
        heard_before = client.event("started")["frame"]
        workers[0].stop()
        client.until(lambda: client.code is not None)
        assert client.code == 1012, "connect again at once"
    assert workers[0].service.sessions.all() == []
    with live(workers[0]) as refused:
        refused.until(lambda: refused.code is not None)
        assert refused.code == 1012
    with live(workers[1], session=ready["session"], token=ready["token"]) as again:
        ready = again.event("ready")
        assert ready["session"] == "wished-for-0001" and ready["taken_bytes"] == sent and ready["talking"]
        again.socket.send(pcm[sent:])
        again.say(type="end")
        idle = again.event("idle")["frame"]
        began = again.event("started")["frame"]
        again.until(lambda: len(again.pieces) % 25 == 0 and began + len(again.film()[0]) > idle + 5)
    before, after = (pitch(one.film()[1]) for one in (client, again))
    assert heard_before + len(before) == began, "frame follows frame"
    joined = np.concatenate([before, after])
    spoken = joined[~np.isnan(joined)]
    assert len(spoken) == pytest.approx(25 * SPOKEN_S, abs=2)
    assert np.abs(np.diff(spoken[2:-2]) - 0.04).max() < 0.03, "each 40 ms follows the one before"


def test_who_comes_to_another_worker_while_the_first_still_holds_it(workers: list[Server]) -> None:
    with live(workers[0]) as old:
        ready = old.event("ready")
        old.socket.send(tone(30.0))
        old.event("speaking")
        time.sleep(1.0)  # it was deposited
        with live(workers[1], session=ready["session"], token=ready["token"]) as new:
            assert new.event("ready")["session"] == ready["session"]
            assert new.event("stats")["buffered_s"] > 10
            old.until(lambda: old.code is not None)
            eventually(lambda: workers[0].service.sessions.all() == [])
            with workers[0].client() as http:
                (listed,) = http.get("/v1/sessions").json()["sessions"]
                assert listed["id"] == ready["session"] and listed["state"] == "live"
                assert http.get(f"/v1/sessions/{ready['session']}").json()["avatar"] == "tiny"
                assert http.get("/v1/sessions/nobody").status_code == 404
                ready = http.get("/readyz").json()
                assert ready["sessions"] == 1 and len(ready["workers"]) == 2
                assert http.get("/metrics").text.count("\nbeing_room_of_worker{") == 2


def test_without_admission_each_worker_has_its_limit(graph: InProcessGraph, directory: LocalDirectory) -> None:
    limits = PATIENT.model_copy(update={"sessions": 50, "admission": False})
    with ExitStack() as stack:
        for name in ("one", "two"):
            server = stack.enter_context(running(graph, limits, directory=directory, name=name))
        http = stack.enter_context(server.client())
        eventually(lambda: http.get("/readyz").json()["workers"] == {"one": 50, "two": 50})
        assert http.get("/readyz").json()["room"] == 100


def test_every_worker_lists_all_sessions(workers: list[Server]) -> None:
    with live(workers[0]) as one, live(workers[1]) as two:
        names = {one.event("ready")["session"], two.event("ready")["session"]}
        for worker in workers:
            with worker.client() as http:
                eventually(lambda: {s["id"] for s in http.get("/v1/sessions").json()["sessions"]} == names)


def test_picture_size_and_format_go_with_the_session(workers: list[Server]) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(photo, "PNG")
    with workers[0].client() as http:
        name = http.post("/v1/backgrounds", content=photo.getvalue()).json()["background"]
    with live(workers[1], background=name, format="jpeg", width=96, height=80) as client:
        ready = client.event("ready")
        client.event("stats")
    with workers[0].client() as http:
        eventually(lambda: http.get("/v1/sessions").json()["sessions"] == [])
    with live(workers[0], session=ready["session"], token=ready["token"]) as gone:
        assert gone.event("ready")["session"] != ready["session"], "it had said goodbye"
    with live(workers[1], background=name, format="jpeg", width=96, height=80) as client:
        ready = client.event("ready")
        client.vanish()
    eventually(lambda: workers[1].service.sessions.all() == [])
    with live(workers[0], session=ready["session"], token=ready["token"]) as client:
        again = client.event("ready")
        assert (again["session"], again["width"], again["format"]) == (ready["session"], 96, "jpeg")
        client.until(lambda: any(piece[:4] == b"JPEG" for piece in client.pieces))
        picture = next(piece for piece in client.pieces if piece[:4] == b"JPEG")
        red, green, _ = Image.open(io.BytesIO(picture[16:])).getpixel((2, 2))
        assert red > 200 and green < 60


def test_metrics_of_all_workers(workers: list[Server]) -> None:
    with live(workers[0]) as client:
        client.event("ready")
        for worker in workers:
            with worker.client() as http:
                eventually(lambda: 'being_sessions{state="live",worker="one"} 1.0' in http.get("/metrics").text)


def test_the_directory_may_be_lost_meanwhile(workers: list[Server], directory: LocalDirectory) -> None:
    with live(workers[0]) as client:
        ready = client.event("ready")
        client.socket.send(tone(30.0))
        client.event("speaking")
        directory.restart()
        time.sleep(1.5)
        client.vanish()
    eventually(lambda: workers[0].service.sessions.all() == [])
    with live(workers[1], session=ready["session"], token=ready["token"]) as client:
        assert client.event("ready")["session"] == ready["session"]
        assert client.event("stats")["buffered_s"] > 10, json.dumps(client.events)
