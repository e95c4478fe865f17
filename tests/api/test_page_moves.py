"""The page in a real browser while its session moves from one worker to another."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from support.api_server import PATIENT, eventually, running
from support.chromium import CHROMIUM, browser
from support.forwarder import forwarding
from support.workers import LocalDirectory

from being.graph.local import InProcessGraph

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium, or BEING_CHROMIUM)")

SENT = Path(__file__).parents[2] / "being" / "api" / "page" / "sent.js"


def test_the_page_comes_back_by_itself_and_the_sentence_goes_on(graph: InProcessGraph) -> None:
    directory = LocalDirectory(gone_s=600.0)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(running(graph, PATIENT, directory=directory, name=name)) for name in ("one", "two")
        )
        front = stack.enter_context(forwarding(one.port))
        tab = stack.enter_context(browser())
        tab.open(f"http://127.0.0.1:{front.port}/")
        tab.until("window.being?.session?.live && being.player.video.currentTime > 0.3")
        tab.run("document.getElementById('sample').click()")
        (client,) = one.service.sessions.all()
        eventually(lambda: client.session.talking)
        front.target = two.port
        one.stop()
        eventually(lambda: len(two.service.sessions) == 1)
        (moved,) = two.service.sessions.all()
        assert moved.session.id == client.session.id
        tab.until("being.session.live && being.player.video.currentTime > 0.3")
        eventually(lambda: not moved.session.talking and moved.session.waiting_s == 0)
        taken, sent = moved._input.taken_bytes, tab.run("being.session.sent.bytes")
        assert taken == sent > 16_000 * 2 * 2, "all of the sentence was heard, none of it twice"
        assert tab.errors == []


def test_what_was_said_lately_is_sent_from_where_the_server_wants_it() -> None:
    """The log of what was sent, in the browser's own words."""
    source = SENT.read_text().replace("export class", "window.Sent = class")
    with browser() as tab:
        tab.run(source)
        tab.run("""(() => {
          window.sound = (...values) => new Uint8Array(values).buffer;
          window.log = new Sent();
          for (const message of [sound(1, 2), sound(3, 4), { type: "end" }, sound(5, 6)]) log.push(message);
          window.after = (taken) => log.after(taken).map((m) => (m.byteLength ? [...new Uint8Array(m)] : m.type));
        })()""")
        assert tab.run("after(3)") == [[4], "end", [5, 6]]
        assert tab.run("log.bytes") == 3 and tab.run("after(3)") == []
        tab.run("log.push(sound(7, 8)); log.push({ type: 'end' });")
        assert tab.run("after(5)") == ["end"], "it may have been lost although the sound before it was not"
        tab.run("log.push(sound(9)); log.forget();")
        assert tab.run("after(0)") == []
