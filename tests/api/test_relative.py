"""The server under a path of its own: told of it by Ray Serve, or not, by a proxy that takes the path off."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin

import pytest
from support.api_server import PATIENCE_S, Server, eventually
from support.chromium import CHROMIUM, browser
from websockets.sync.client import connect

from being.api.relative import relative
from being.api.server import PAGE

PLAYING = "window.being && being.player.video.currentTime > 0.3 && location.pathname === '/a/being/'"
ADDRESS = re.compile(r"""(?:src|href|url|from|import|fetch)\s*[=:(]?\s*["'(`](/[^"'`)]*)""")


@pytest.fixture(params=[True, False], ids=["route_prefix", "proxy"])
def under(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> Server:
    """Nothing is answered outside of its path."""
    return serve(prefix="/a/being", told=request.param)


@pytest.mark.parametrize(
    ("target", "asked", "found"),
    [
        ("/being/", "/being", "being/"),
        ("/v1/avatars", "/v1/avatars/", "../avatars"),
        ("/page/", "/page", "page/"),
        ("/a/b", "/a/c/d", "../b"),
        ("/", "/a", "./"),
    ],
)
def test_paths_seen_from_others(target: str, asked: str, found: str) -> None:
    assert urljoin(f"http://h{asked}", relative(target, asked)) == f"http://h{target}"
    assert relative(target, asked).removeprefix("./") == found.removeprefix("./")


def test_nothing_is_named_by_an_absolute_path(under: Server) -> None:
    for path in ("/", "/docs", "/redoc", *(f"/page/{file.name}" for file in PAGE.iterdir())):
        with under.client() as client:
            answer = client.get(f"{under.url}{path}")
            assert answer.status_code == 200
            assert not ADDRESS.findall(answer.text), path


def test_the_api_is_found_from_what_it_says(under: Server) -> None:
    with under.client() as client:
        docs = f"{under.url}/docs"
        schema = urljoin(docs, re.search(r"url: '([^']*)'", client.get(docs).text)[1])  # type: ignore[index]
        described = client.get(schema)
        assert (
            described.status_code == 200 and urljoin(schema, described.json()["servers"][0]["url"]) == f"{under.url}/"
        )
        for address in (f"{under.url}/v1/avatars", f"{under.url}/v1/avatars/tiny"):
            body = client.get(address).json()
            preview = urljoin(address, (body.get("avatars") or [body])[0]["preview"])
            assert client.get(preview).headers["content-type"] == "image/jpeg"
        slash = client.get(f"{under.url}/v1/avatars/")
        assert slash.is_redirect and urljoin(str(slash.url), slash.headers["location"]) == f"{under.url}/v1/avatars"
    with connect(under.live(), open_timeout=PATIENCE_S) as socket:
        assert '"ready"' in str(socket.recv(timeout=PATIENCE_S))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium, or BEING_CHROMIUM)")
def test_the_page_works_there(under: Server) -> None:
    with browser() as tab:
        tab.open(f"{under.url}/?a=b")
        tab.until(PLAYING)
        tab.run("document.getElementById('sample').click()")
        eventually(lambda: any(client.session.talking for client in under.service.sessions.all()))
        assert tab.errors == []
        tab.open(under.url)  # without the slash; a browser may look for the page's parts in the wrong place at first
        tab.until(PLAYING)
