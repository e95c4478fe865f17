"""Who is answered: the server's own names and pages, what is listed, and programs that are no browsers."""

from __future__ import annotations

from collections.abc import Callable
from socket import create_connection

import httpx
import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers
from support.api_server import PATIENCE_S, Server, wav
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from being.api.origin import Access, OriginGuard, own_names, page_of, same_origin

LISTED = Access(
    hosts=("being.example.org", "*.lan"),
    origins=("https://app.example.org", "https://*.example.net", "tauri://localhost"),
)
ANYBODY = Access(hosts=("*",), origins=("*",))


async def nothing(*_: object) -> None:
    raise AssertionError("not reached")


def status(access: Access, host: str, page: str | None = None) -> int | None:
    problem = OriginGuard(nothing, access, names=("box", "box.local")).problem([host], page)
    return problem.details.status if problem else None


OWN = "127.0.0.1:8000 localhost localhost:8000 being.localhost:8000 [::1]:8000 [fe80::1]:80 192.168.1.5 0.0.0.0:80"
FOREIGN = "evil.example evil.example:8000 localhost.evil.example 127.0.0.1.evil.example notlocalhost being.example.org"
MALFORMED = "a:b:c 127.0.0.1:8000@evil.example [evil]:80 evil.example#.localhost."


@pytest.mark.parametrize("host", [*OWN.split(), "box", "BOX:8000", "box.local.", ""])
def test_own_names_and_addresses_are_answered(host: str) -> None:
    assert status(Access(), host) is None


@pytest.mark.parametrize("host", [*FOREIGN.split(), *MALFORMED.split(), "box.evil"])
def test_other_names_are_not(host: str) -> None:
    """What a rebound name of a foreign page would be."""
    assert status(Access(), host) == 421


def test_listed_names() -> None:
    assert status(LISTED, "being.example.org:8000") is None and status(LISTED, "Gpu.Lan") is None
    assert [status(LISTED, name) for name in ("lan", "xlan", "www.being.example.org", "beingxexample.org")] == [421] * 4
    assert status(ANYBODY, "anything.at.all") is None
    guard = OriginGuard(nothing, ANYBODY)
    assert (problem := guard.problem(["a", "b"], None)) and problem.details.status == 400


@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("192.168.1.5:8000", "http://192.168.1.5:8000"),
        ("box", "http://box"),
        ("box:443", "https://box"),  # TLS ended before it
        ("[::1]:8000", "http://[::1]:8000"),
        ("127.0.0.1:8000", "http://localhost:5173"),  # a page under development on the same machine
        ("localhost:8000", None),
    ],
)
def test_own_pages_may(host: str, page: str | None) -> None:
    assert status(Access(), host, page) is None


@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("127.0.0.1:8000", "https://evil.example"),
        ("127.0.0.1:8000", "null"),
        ("127.0.0.1:8000", ""),
        ("127.0.0.1:8000", "file://"),
        ("127.0.0.1:8000", "chrome-extension://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1.evil.example:8000"),
        ("127.0.0.1:8000", "http://[::1"),
        ("192.168.1.5:8000", "http://192.168.1.5"),
        ("192.168.1.5:8000", "http://192.168.1.5:3000"),
        ("192.168.1.5:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://192.168.1.5:8000"),
    ],
)
def test_other_pages_may_not(host: str, page: str) -> None:
    assert status(Access(), host, page) == 403
    assert status(ANYBODY, host, page) is None


def test_listed_pages() -> None:
    host = "being.example.org"
    assert status(LISTED, host, "https://App.example.org") is None and status(LISTED, host, "tauri://localhost") is None
    assert status(LISTED, host, "https://a.b.example.net") is None
    for page in (
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://example.net",
        "https://evil/.example.net",
    ):
        assert status(LISTED, host, page) == 403


def test_pictures_and_scripts_of_other_pages_are_known_without_an_origin() -> None:
    asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert page_of(Headers({**asked, "referer": "https://evil.example/a?b"})) == "https://evil.example"
    assert page_of(Headers(asked)) == "null"
    assert page_of(Headers({**asked, "sec-fetch-site": "same-origin"})) is None
    assert page_of(Headers({**asked, "sec-fetch-mode": "navigate"})) is None, "a link may lead here"
    assert page_of(Headers({})) is None
    assert not same_origin("null", "") and not same_origin("", "")


@pytest.mark.parametrize("hosts", ["http://being.example.org", "being.example.org:80", "a b", "", "*lan"])
def test_wrong_names_are_refused(hosts: str) -> None:
    with pytest.raises(ValidationError, match="no host name"):
        Access(hosts=(hosts,))


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/page", "https://*", "https://a*b", ""])
def test_wrong_origins_are_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="no origin"):
        Access(origins=(origin,))


def test_values_are_normalised() -> None:
    assert Access(hosts=(" Being.Example.org. ",), origins=("https://App.example.org/",)) == Access(
        hosts=("being.example.org",), origins=("https://app.example.org",)
    )
    assert all(name == name.lower() for name in own_names())


# The same through a real server.


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/v1/avatars", "/metrics", "/page/main.js", "/healthz"]
)
def test_a_foreign_page_gets_nothing(server: Server, path: str) -> None:
    with server.client() as client:
        assert client.get(path).status_code == 200, "a program"
        foreign = client.get(path, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403 and foreign.headers["content-type"] == "application/problem+json"
        assert "--allow-origin https://evil.example" in foreign.json()["remedy"]
        assert "access-control-allow-origin" not in foreign.headers
        rebound = client.get(path, headers={"Host": f"evil.example:{server.port}"})
        assert rebound.status_code == 421 and "--allow-host evil.example" in rebound.json()["remedy"]
        embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Referer": "https://evil.example/"}
        assert client.get(path, headers=embedded).status_code == 403


def test_a_foreign_page_can_make_nothing_happen(server: Server) -> None:
    with server.client() as client:
        headers = {"Origin": "https://evil.example"}
        assert client.post("/v1/avatars/tiny/speak", content=wav(0.2), headers=headers).status_code == 403
        assert client.post("/v1/backgrounds", content=b"", headers=headers).status_code == 403
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
        asked = client.options("/v1/avatars/tiny/speak", headers=headers | preflight)
        assert asked.status_code == 403 and not any(name.startswith("access-control") for name in asked.headers)


@pytest.mark.parametrize(
    ("host", "origin", "status"), [("127.0.0.1", "https://evil.example", 403), ("a.evil", None, 421)]
)
def test_a_foreign_page_opens_no_session(server: Server, host: str, origin: str | None, status: int) -> None:
    address = server.live().replace("127.0.0.1", host)
    before = len(server.service.sessions.all())
    socket = create_connection(("127.0.0.1", server.port), PATIENCE_S)
    with pytest.raises(InvalidStatus) as caught, connect(address, sock=socket, origin=origin, open_timeout=PATIENCE_S):
        pass
    assert caught.value.response.status_code == status
    assert b"--allow-" in caught.value.response.body
    assert len(server.service.sessions.all()) == before


def test_own_pages_and_listed_ones_do(serve: Callable[..., Server]) -> None:
    server = serve(access=LISTED)
    for origin in (server.url, "https://app.example.org", None):
        with connect(server.live(), origin=origin, open_timeout=PATIENCE_S) as socket:
            assert '"ready"' in str(socket.recv(timeout=PATIENCE_S))
    with server.client() as client:
        own = client.get("/v1/avatars", headers={"Origin": server.url})
        assert own.status_code == 200 and "access-control-allow-origin" not in own.headers
        assert own.headers["cross-origin-resource-policy"] == "same-origin" and "Origin" in own.headers["vary"]
        listed = client.get("/v1/avatars", headers={"Origin": "https://app.example.org"})
        assert listed.status_code == 200
        assert listed.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "Origin" in listed.headers["vary"] and "cross-origin-resource-policy" not in listed.headers
        framing = client.get("/").headers["content-security-policy"]
        assert framing == "frame-ancestors 'self' https://app.example.org https://*.example.net tauri://localhost"
        preflight = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
        preflight["Access-Control-Request-Headers"] = "content-type"
        asked = client.options("/v1/avatars/tiny/speak", headers=preflight)
        assert asked.status_code == 200 and asked.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "POST" in asked.headers["access-control-allow-methods"]
        refused = client.post("/v1/avatars/nobody/speak", headers={"Origin": "https://app.example.org"})
        assert refused.headers["access-control-allow-origin"] == "https://app.example.org", "errors can be read, too"
        assert client.get("/v1/avatars", headers={"Host": "being.example.org"}).status_code == 200


def test_a_request_without_a_host_is_no_browsers(server: Server) -> None:
    with create_connection(("127.0.0.1", server.port), PATIENCE_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"200 OK" in plain.makefile("rb").readline()


def test_httpx_is_a_program(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
