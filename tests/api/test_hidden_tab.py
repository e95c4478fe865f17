"""A tab that nobody looks at: browsers put its timers off to once a minute, and let its video stand still."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.api_server import Server, eventually
from support.chromium import CHROMIUM, browser

from being.server.limits import ServingLimits

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium, or BEING_CHROMIUM)")

GONE_S = 8.0  # silent for longer, a client is let go; the machine may starve the browser for some of it
HIDDEN_S = 2.5 * GONE_S
# The page as a hidden tab has it: no timer and no frame ever again, and the video stands still.
HIDE = """(() => {
  window.losses = 0;
  being.session.addEventListener("lost", () => { losses += 1; });
  for (let id = setTimeout(() => 0); id > 0; id--) { clearTimeout(id); clearInterval(id); }
  window.setTimeout = window.setInterval = window.requestAnimationFrame = () => 0;
  Object.defineProperty(document, "hidden", { get: () => true });
  being.player.video.pause();
})()"""


def test_a_hidden_tab_stays_and_keeps_up(serve: Callable[..., Server]) -> None:
    server = serve(ServingLimits(gone_s=GONE_S))
    with browser() as tab:
        tab.open(f"{server.url}/")
        tab.until("window.being && being.player.video.currentTime > 0.3")
        tab.run(HIDE)
        (client,) = server.service.sessions.all()
        time.sleep(HIDDEN_S)
        assert server.service.sessions.all() == [client] and client.connected
        assert tab.run("losses") == 0
        # What is behind the playhead can be let go of only if it follows the stream.
        assert tab.run("being.player.ahead") < 2.0
        tab.run("document.getElementById('sample').click()")
        eventually(lambda: client.session.talking)
        eventually(lambda: not client.session.talking and client.session.waiting_s == 0)  # the whole sentence came
        assert tab.errors == []
