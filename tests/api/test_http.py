"""HTTP: what a client gets for good requests and for bad ones, and that the server is well after each."""

from __future__ import annotations

import io
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import av
import numpy as np
import pytest
from support.api_server import PATIENCE_S, Server, eventually, wav
from support.sound_files import Track, speech, upsampled, write_media
from support.tiny import make_tiny_avatar

from being.avatar.folder import save_avatar
from being.server.limits import ServingLimits


@pytest.fixture(autouse=True)
def alive_afterwards(server: Server) -> Iterator[None]:
    yield
    with server.client() as client:
        assert client.get("/healthz").json() == {"status": "ok"}


def problem(response: object, status: int) -> dict[str, object]:
    assert response.status_code == status, response.text  # type: ignore[attr-defined]
    assert response.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    body = response.json()  # type: ignore[attr-defined]
    assert body["status"] == status and body["detail"]
    return dict(body)


def test_library_is_listed(server: Server) -> None:
    with server.client() as client:
        body = client.get("/v1/avatars").json()
        assert [one["id"] for one in body["avatars"]] == ["other", "tiny"]
        detail = client.get("/v1/avatars/tiny").json()
        assert detail["look_ahead_frames"] == 1 and detail["emotions"] == ["happy"]
        for listed, address in ((detail, "/v1/avatars/tiny"), (body["avatars"][1], "/v1/avatars")):
            assert urljoin(address, listed["preview"]) == f"/v1/avatars/{listed['id']}/preview.jpg"
        preview = client.get(urljoin("/v1/avatars/tiny", detail["preview"]))
        assert preview.headers["content-type"] == "image/jpeg" and preview.content[:2] == b"\xff\xd8"
        ready = client.get("/readyz").json()
        assert ready["status"] == "ready" and list(ready["workers"].values()) == [ready["room"]]
        metrics = client.get("/metrics").content
        assert b"being_sessions" in metrics and f"being_room {ready['room']}.0\n".encode() in metrics
        assert "/v1/avatars/{avatar_id}/speak" in client.get("/openapi.json").json()["paths"]
        assert client.get("/docs").status_code == 200


def test_without_admission_the_limit_is_the_room(serve: Callable[..., Server]) -> None:
    for admission, room in ((True, range(1, 10)), (False, [50])):
        with serve(ServingLimits(sessions=50, admission=admission)).client() as client:
            assert client.get("/readyz").json()["room"] in room


def test_unknown_things_are_problems(server: Server) -> None:
    with server.client() as client:
        assert "tiny" in str(problem(client.get("/v1/avatars/nobody"), 404)["remedy"])
        problem(client.get("/v1/avatars/..%2f..%2fetc"), 404)
        problem(client.get("/v1/sessions/none"), 404)
        problem(client.get("/v1/elsewhere"), 404)
        problem(client.delete("/v1/avatars/tiny"), 405)
        problem(client.post("/v1/avatars/nobody/speak", content=wav(0.2)), 404)


def test_speak_streams_a_film(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/v1/avatars/tiny/speak", content=wav(2.0))
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as film:
        frames = list(film.decode(video=0))
    assert len(frames) == 50
    assert frames[0].pts == 0 and (frames[0].width, frames[0].height) == (64, 48)
    with av.open(io.BytesIO(answer.content)) as film:
        sound = np.concatenate([block.to_ndarray()[0] for block in film.decode(audio=0)])
    assert abs(len(sound) / 48_000 - 2.0) < 0.05 and np.abs(sound).max() > 0.2


def test_speak_tells_what_it_repaired_and_takes_a_track(server: Server, tmp_path: Path) -> None:
    said = upsampled(speech(0.8), 48_000)[:, None]
    film = write_media(tmp_path / "a.mkv", [Track(0 * said), Track(said)]).read_bytes()
    with server.client() as client:
        assert "being-notes" not in client.post("/v1/avatars/tiny/speak", content=wav(0.2)).headers
        (note,) = json.loads(client.post("/v1/avatars/tiny/speak", content=film).headers["being-notes"])
        assert note.startswith("Track 2 (AAC, mono") and "track 1 is silent" in note
        assert client.post("/v1/avatars/tiny/speak?audio_track=1", content=film).status_code == 200
        refused = problem(client.post("/v1/avatars/tiny/speak?audio_track=3", content=film), 422)
        assert "no track 3" in str(refused["detail"]) and "track 2" in str(refused["remedy"])


def test_speak_takes_a_form_and_another_size(server: Server) -> None:
    with server.client() as client:
        answer = client.post(
            "/v1/avatars/tiny/speak?width=96&height=96&background=%23204060", files={"audio": ("a.wav", wav(0.4))}
        )
    with av.open(io.BytesIO(answer.content)) as film:
        frame = next(film.decode(video=0))
    assert (frame.width, frame.height) == (96, 96)
    corner = frame.to_ndarray(format="rgb24")[2, 2].astype(int)
    assert np.abs(corner - (0x20, 0x40, 0x60)).max() < 12


def test_speak_answers_transparent_webm_and_mjpeg(server: Server) -> None:
    with server.client() as client:
        webm = client.post("/v1/avatars/tiny/speak?format=webm&background=none", content=wav(0.4))
        mjpeg = client.post("/v1/avatars/tiny/speak?format=mjpeg", content=wav(0.4))
    with av.open(io.BytesIO(webm.content)) as film:
        assert film.streams.video[0].metadata.get("alpha_mode") == "1" or "ALPHA_MODE" in film.streams.video[0].metadata
        assert sum(1 for _ in film.decode(video=0)) == 10
    assert mjpeg.content.count(b"--being-frame\r\n") == 10


@pytest.mark.parametrize(
    ("query", "content", "status"),
    [
        ("", b"", 400),
        ("", b"this is not sound", 422),
        ("", wav(1.0)[:30], 422),
        ("?format=gif", wav(0.2), 422),
        ("?width=99999", wav(0.2), 422),
        ("?width=63", wav(0.2), 422),
        ("?background=/etc/passwd", wav(0.2), 422),
        ("?background=none", wav(0.2), 422),
    ],
)
def test_speak_refuses(server: Server, query: str, content: bytes, status: int) -> None:
    with server.client() as client:
        problem(client.post(f"/v1/avatars/tiny/speak{query}", content=content), status)


def test_a_playlist_is_not_sound(server: Server) -> None:
    """FFmpeg follows playlists; an upload must not make the server open files or addresses."""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    with server.client() as client:
        problem(client.post("/v1/avatars/tiny/speak", content=playlist), 422)


def test_broken_form_is_refused(server: Server) -> None:
    with server.client() as client:
        problem(client.post("/v1/avatars/tiny/speak", files={"picture": b"x"}), 400)
        problem(client.post("/v1/avatars/tiny/speak", files={"audio": b""}), 400)
        plain = {"content-type": "multipart/form-data"}
        problem(client.post("/v1/avatars/tiny/speak", content=b"x", headers=plain), 400)


def test_large_upload_is_refused_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as raw:
        raw.sendall(b"POST /v1/avatars/tiny/speak HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2147483648\r\n\r\nRIFF")
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


def test_unstated_size_is_counted(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(upload_bytes=100_000))
    with server.client() as client:

        def endless() -> Iterator[bytes]:
            for _ in range(100):
                yield b"x" * 10_000

        problem(client.post("/v1/avatars/tiny/speak", content=endless()), 413)
        large = {"audio": b"x" * 200_000}
        problem(client.post("/v1/avatars/tiny/speak", files=large), 413)


def test_an_upload_that_never_ends_is_given_up(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(upload_s=0.2, speaking=1))
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as raw:
        raw.sendall(b"POST /v1/avatars/tiny/speak HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1000\r\n\r\nRIFF")
        assert raw.recv(65536).startswith(b"HTTP/1.1 408")
    with server.client() as client:  # and its place is free again
        problem(client.post("/v1/avatars/tiny/speak", content=b"nothing"), 422)


def test_long_sound_is_refused(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(sound_s=1.0))
    with server.client() as client:
        assert "limit is 1 s" in str(
            problem(client.post("/v1/avatars/tiny/speak", content=wav(3.0, 8000)), 422)["detail"]
        )


def test_only_so_many_speak_at_once(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(speaking=1))
    with server.client() as client:
        server.service.speech_slots.take()
        refused = client.post("/v1/avatars/tiny/speak", content=wav(0.2))
        assert problem(refused, 503)["retry_after"] == int(refused.headers["retry-after"])
        server.service.speech_slots.release()
        assert client.post("/v1/avatars/tiny/speak", content=wav(0.2)).status_code == 200


def test_client_gone_mid_stream_frees_its_place(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(speaking=1))
    with server.client() as client:
        with client.stream("POST", "/v1/avatars/tiny/speak", content=wav(30.0)) as answer:
            next(answer.iter_raw())
        eventually(lambda: client.post("/v1/avatars/tiny/speak", content=wav(0.2)).status_code == 200)


def test_damaged_folder_hides_no_other(serve: Callable[..., Server], tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny")
    shutil.copytree(tiny_folder / "tiny", tmp_path / "unreadable")
    (tmp_path / "unreadable" / "avatar.json").write_text("{ not json")
    bent = tmp_path / "bent"
    save_avatar(make_tiny_avatar("bent", 3), bent)
    ply = bent / "gaussians.ply"
    ply.write_bytes(ply.read_bytes()[:-7])
    server = serve(folder=tmp_path)
    with server.client() as client:
        body = client.get("/v1/avatars").json()
        assert [one["id"] for one in body["avatars"]] == ["bent", "tiny"]
        assert [one["name"] for one in body["broken"]] == ["unreadable"]
        assert "gaussians.ply" in str(problem(client.post("/v1/avatars/bent/speak", content=wav(0.2)), 409)["detail"])
        assert client.post("/v1/avatars/tiny/speak", content=wav(0.2)).status_code == 200


def test_new_avatar_appears(serve: Callable[..., Server], tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny")
    server = serve(folder=tmp_path)
    with server.client() as client:
        assert client.get("/v1/avatars/late").status_code == 404
        save_avatar(make_tiny_avatar("late", 5), tmp_path / "late")
        assert client.get("/v1/avatars/late").status_code == 200  # asked for by name it is looked for at once
        assert "late" in json.dumps(client.get("/v1/avatars").json())


def test_unconsented_avatar_is_not_played(serve: Callable[..., Server], tmp_path: Path) -> None:
    from dataclasses import replace

    from being.avatar.consent import ConsentRecord

    avatar = make_tiny_avatar("private", 2)
    manifest = avatar.manifest.model_copy(update={"consent": ConsentRecord()})
    save_avatar(replace(avatar, manifest=manifest), tmp_path / "private")
    closed, open_ = serve(folder=tmp_path), serve(ServingLimits(serve_unconsented=True), folder=tmp_path)
    with closed.client() as client:
        assert client.get("/v1/avatars").json()["avatars"][0]["servable"] is False
        problem(client.post("/v1/avatars/private/speak", content=wav(0.2)), 403)
    with open_.client() as client:
        assert client.post("/v1/avatars/private/speak", content=wav(0.2)).status_code == 200
