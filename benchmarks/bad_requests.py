"""Bad HTTP requests: sounds, options, uploads, clients that go, damaged avatars."""

from __future__ import annotations

import shutil
import time

import httpx
import numpy as np
from bad_input import Target, Wrong, case, problem
from raw_client import MIB, PART_HEAD, PATIENCE_S, copy_avatar, endless_flac, raw_get, request, reset, upload, wav


@case("unknown avatar")
def _unknown_avatar(target: Target) -> str:
    return problem(httpx.post(target.speak("nobody"), content=wav(0.2), timeout=PATIENCE_S), 404)


@case("path out of the library")
def _path_out(target: Target) -> str:
    for path in (
        "/v1/avatars/..%2f..%2fetc/preview.jpg",
        "/v1/avatars/%2e%2e/preview.jpg",
        "/page/..%2f..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/v1/avatars/%00",
    ):
        status, _ = raw_get(target.http, path)
        if status not in (307, 400, 404, 422):
            raise Wrong(f"{path}: {status}")
    return "404 or 400 each"


@case("empty body")
def _empty(target: Target) -> str:
    return problem(httpx.post(target.speak(), content=b"", timeout=PATIENCE_S), 400)


@case("not audio")
def _not_audio(target: Target) -> str:
    header = wav(1.0)[:44]
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()
    bodies = {
        "text": b"Hello, are you a sound?" * 1000,
        "noise": noise,
        "a WAV of no samples": header,
        "a WAV cut in its head": header[:30],
        "a WAV that claims 4 GiB": header[:40] + b"\xff\xff\xff\xff",
        "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "a PNG": b"\x89PNG\r\n\x1a\n" + noise[:1000],
        "an MP3 head and noise": b"ID3\x04\x00\x00\x00\x00\x00\x00" + noise[:5000],
    }
    for name, body in bodies.items():
        answer = httpx.post(target.speak(), content=body, timeout=PATIENCE_S)
        if answer.status_code != 422:
            raise Wrong(f"{name}: {answer.status_code} {answer.text[:200]}")
    return f"422 for each of {len(bodies)}"


@case("broken multipart")
def _multipart(target: Target) -> str:
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", PART_HEAD),
        ("multipart/form-data; boundary=b", b"\xff" * 5000),
    ):
        answer = httpx.post(target.speak(), content=body, headers={"Content-Type": kind}, timeout=PATIENCE_S)
        if answer.status_code != 400:
            raise Wrong(f"{kind}: {answer.status_code} {answer.text[:200]}")
    return "400 each"


@case("impossible options")
def _options(target: Target) -> str:
    for query in (
        {"width": 1_000_000_000},
        {"width": "wide"},
        {"width": 65},
        {"width": 2048, "height": 2048},
        {"background": "../../etc/passwd"},
        {"background": "none"},
        {"format": "exe"},
    ):
        answer = httpx.post(target.speak(**query), content=wav(0.2), timeout=PATIENCE_S)
        if answer.status_code != 422:
            raise Wrong(f"{query}: {answer.status_code} {answer.text[:200]}")
    return "422 each"


@case("2 GiB upload, its size stated")
def _stated(target: Target) -> str:
    return _refused_upload(target, chunked=False, kind="application/octet-stream")


@case("2 GiB upload, chunked")
def _chunked(target: Target) -> str:
    return _refused_upload(target, chunked=True, kind="application/octet-stream")


@case("2 GiB upload, chunked multipart")
def _chunked_multipart(target: Target) -> str:
    return _refused_upload(target, chunked=True, kind="multipart/form-data; boundary=b")


@case("3 hours of sound, stated by the file")
def _three_hours_stated(target: Target) -> str:
    return problem(httpx.post(target.speak(), content=wav(3 * 3600, 8000, width=1), timeout=PATIENCE_S), 422)


@case("3 hours of sound, unstated")
def _three_hours_unstated(target: Target) -> str:
    body = endless_flac(3 * 3600)
    sent = time.monotonic()
    answer = problem(httpx.post(target.speak(), content=body, timeout=PATIENCE_S), 422)
    return f"{answer}, after {time.monotonic() - sent:.1f} s (FLAC of {len(body) / MIB:.1f} MiB)"


@case("client gone while it uploads")
def _gone_uploading(target: Target) -> str:
    for _ in range(4):
        with request(target.speak(), {"Content-Length": 10 * MIB}) as connection:
            connection.sendall(bytes(MIB))
            reset(connection)
    return "nothing to answer"


@case("client gone while its video is made")
def _gone_watching(target: Target) -> str:
    body = wav(20.0)
    for _ in range(4):
        with request(target.speak(width=256, height=256), {"Content-Length": len(body)}) as connection:
            connection.sendall(body)
            status = connection.recv(4096).split(b" ")[1]
            if status not in (b"200", b"503"):
                raise Wrong(status.decode())
            reset(connection)
    return "nothing to answer"


@case("damaged avatar folders among good ones")
def _damaged(target: Target) -> str:
    if target.library is None:
        return "not tried: needs --library, a folder the server reads"
    good = next(folder for folder in target.library.iterdir() if (folder / "avatar.json").is_file())
    spoilt = ("cut-manifest", "no-manifest", "cut-weights", "missing-file", "list-manifest")
    try:
        for name in spoilt:
            copy_avatar(good, target.library, name)
        text = (target.library / "cut-manifest" / "avatar.json").read_text()
        (target.library / "cut-manifest" / "avatar.json").write_text(text[: len(text) // 2])
        (target.library / "no-manifest" / "avatar.json").unlink()
        (target.library / "list-manifest" / "avatar.json").write_text("[]")
        largest = max((target.library / "cut-weights").iterdir(), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:1000])
        largest = max((target.library / "missing-file").iterdir(), key=lambda path: path.stat().st_size)
        largest.unlink()
        time.sleep(5.0)
        listed = httpx.get(f"{target.http}/v1/avatars", timeout=PATIENCE_S).json()
        names = {entry["name"] for entry in listed["broken"]}
        if not {"cut-manifest", "list-manifest"} <= names:
            raise Wrong(f"named as broken: {sorted(names)}")
        if target.avatar not in {entry["id"] for entry in listed["avatars"]}:
            raise Wrong("the good avatar is not listed any more")
        for name in spoilt:
            answer = httpx.post(target.speak(name), content=wav(0.2), timeout=PATIENCE_S)
            if answer.status_code not in (404, 409):
                raise Wrong(f"{name}: {answer.status_code} {answer.text[:200]}")
        return "named in the list or refused with 409; the good one is played"
    finally:
        for name in spoilt:
            shutil.rmtree(target.library / name, ignore_errors=True)


def _refused_upload(target: Target, *, chunked: bool, kind: str) -> str:
    status, sent = upload(target.speak(), chunked=chunked, kind=kind)
    if status != 413:
        raise Wrong(f"{status} after {sent / MIB:.0f} MiB")
    return f"413 after {sent / MIB:.0f} MiB"
