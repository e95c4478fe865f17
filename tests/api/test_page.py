"""The page in a real browser: it comes alive by itself, talks, is heard, can be interrupted, and fits a phone.

Nothing here is held against the wall clock: what must not be heard is measured on the browser's own audio clock, and
everything else is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.api_server import Server, wav
from support.chromium import CHROMIUM, Page, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium, or BEING_CHROMIUM)")

STATE = "document.getElementById('stage').dataset.state"
PLAYING = "window.being && being.player.video.currentTime > 0.3 && !being.player.video.paused"
# How much the picture changes, watched from inside the page.
WATCH = """(() => {
  const video = document.getElementById("picture");
  const canvas = new OffscreenCanvas(64, 48).getContext("2d", { willReadFrequently: true });
  window.picture = () => {
    canvas.drawImage(video, 0, 0, 64, 48);
    return Array.from(canvas.getImageData(0, 0, 64, 48).data);
  };
})()"""
# What the page plays, heard in the audio thread: heard() tells when sound was loud last, in seconds of its clock.
LISTEN = """(async () => {
  const worklet = `registerProcessor("ear", class extends AudioWorkletProcessor {
    constructor() {
      super();
      this.last = -1;
      this.port.onmessage = () => this.port.postMessage(this.last);
    }
    process([[samples]]) {
      if (samples && samples.some((x) => Math.abs(x) > 0.01)) this.last = currentTime;
      return true;
    }
  })`;
  const context = new AudioContext();
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
  const ear = new AudioWorkletNode(context, "ear");
  context.createMediaElementSource(document.getElementById("picture")).connect(ear).connect(context.destination);
  window.audioNow = () => context.currentTime;
  window.heard = () => new Promise((resolve) => {
    ear.port.onmessage = (message) => resolve(message.data);
    ear.port.postMessage("");
  });
  await context.resume();
})()"""
# The server learns of an interruption only when so many seconds more of the stream have been played.
INTERRUPT_LATE = """(late) => {
  const { session, player } = being;
  const send = session.send.bind(session);
  session.send = (message) => {
    if (message.type !== "interrupt") return send(message);
    const from = player.video.currentTime;
    const timer = setInterval(() => {
      if (player.video.currentTime - from < late) return;
      clearInterval(timer);
      send(message);
    }, 10);
  };
  session.addEventListener("interrupted", (event) => { window.cut = event.detail.frame; });
}"""
CLICK = "document.getElementById('{}').click()"
MUTE_S = 0.05  # seconds of the audio clock in which a muted element may still be heard: blocks under way


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests; its microphone hears a tone."""
    voice = tmp_path_factory.mktemp("microphone") / "voice.wav"
    voice.write_bytes(wav(20.0, 48_000))
    with browser([f"--use-file-for-fake-audio-capture={voice}"]) as one:
        yield one


@pytest.fixture
def page(tab: Page, server: Server) -> Iterator[Page]:
    """The page, playing."""
    tab.open(f"{server.url}/")
    tab.until(PLAYING)
    yield tab
    errors, tab.errors = tab.errors, []
    tab.open("about:blank")
    assert errors == []


def speak_file(page: Page, folder: Path, seconds: float) -> None:
    """Let it say a tone, and wait until it is heard."""
    said = folder / "said.wav"
    said.write_bytes(wav(seconds, 22_050))
    before = page.run("heard()")
    page.choose_file("#chosen", said)
    page.until(f"heard().then((last) => last > {before})")


def test_picture_moves_and_numbers_show(page: Page) -> None:
    page.run(WATCH)
    page.run("window.before = picture()")
    page.until("picture().filter((value, at) => Math.abs(value - before[at]) > 8).length > 0.01 * before.length")
    page.until("document.getElementById('fps').textContent > 0")
    page.until("/ms/.test(document.getElementById('latency').textContent)")
    assert page.run("document.getElementById('lookahead').textContent").endswith("ms")
    page.until("being.player.ahead < 1.0")  # it plays close to now, or comes back to it


def test_sample_is_heard(page: Page) -> None:
    page.run(LISTEN)
    assert page.run("heard()") < 0, "an idle avatar is silent"
    page.run(CLICK.format("sample"))
    page.until(f"{STATE} === 'speaking'")
    page.until("heard().then((last) => last > 0)")


@pytest.mark.parametrize("late_s", [0.0, 0.6])
def test_interrupted_is_silent_at_once(page: Page, tmp_path: Path, late_s: float) -> None:
    """Also where the server learns of it late, and goes on sending what is no longer wanted: `late_s` of the stream."""
    page.run(LISTEN)
    page.run(f"({INTERRUPT_LATE})({late_s})")
    speak_file(page, tmp_path, 20.0)
    page.until(f"{STATE} === 'speaking'")
    clicked = page.run(f"{CLICK.format('interrupt')}; audioNow()")
    page.until("window.cut && !being.player.video.muted")
    # The stream's time at which it may be heard again is the one that the server named, and well into its silence.
    assert page.run("being.player.muteUntil") > 0
    again = page.run("being.player.muteUntil + 0.5")
    page.until(f"being.player.video.currentTime > {again}")
    assert page.run("heard()") <= clicked + MUTE_S, "old sound goes on after the interruption"
    page.until(f"{STATE} === 'listening'")
    assert page.run("document.getElementById('interrupt').disabled")
    speak_file(page, tmp_path, 5.0)  # and it can be heard again; longer than what a starved player skips


def test_file_is_spoken(page: Page, tmp_path: Path) -> None:
    page.run(LISTEN)
    speak_file(page, tmp_path, 5.0)
    page.until(f"{STATE} === 'listening'")


def test_microphone_is_spoken(page: Page, server: Server) -> None:
    page.run(CLICK.format("microphone"))
    page.until(f"{STATE} === 'speaking'")
    assert page.run("document.getElementById('microphone').getAttribute('aria-pressed')") == "true"
    assert page.run("being.player.video.muted"), "one's own voice must not come back through the speakers"
    page.run(CLICK.format("microphone"))
    page.until(f"{STATE} === 'listening'")


def test_a_face_is_asked_for_and_left_again(page: Page) -> None:
    page.until("!document.getElementById('faces').hidden")
    page.run(
        "window.sent = []; const { session } = being, send = session.send.bind(session);"
        "session.send = (message) => { if (message.emotion) sent.push(message.emotion); send(message); }"
    )
    click = "document.querySelector('#faces button[value=happy]').click()"
    page.run(click)
    assert page.run("document.querySelector('#faces [aria-pressed=true]').textContent") == "happy"
    page.run(click)
    assert page.run("JSON.stringify(sent)") == '[{"happy":1},{}]'
    page.until("document.getElementById('message').hidden")


def test_background_changes(page: Page) -> None:
    page.run(WATCH)
    page.run("document.querySelector('#backgrounds input[value=\"#00b140\"]').click()")
    page.until("(() => { const p = picture(); return p[0] < 60 && p[1] > 130 && p[2] < 110; })()")


def test_a_picture_of_ones_own_stands_behind(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), (0, 176, 64)).save(tmp_path / "wall.png")
    page.run(WATCH)
    page.choose_file("#picture-chosen", tmp_path / "wall.png")
    page.until("(() => { const p = picture(); return p[0] < 60 && p[1] > 130 && p[2] < 110; })()")
    assert page.run("document.querySelector('#backgrounds input:checked').value").startswith("picture:")
    page.choose_file("#picture-chosen", Path(__file__))
    page.until("!document.getElementById('message').hidden")


def test_page_fits_a_phone(page: Page) -> None:
    page.resize(360, 740, mobile=True)
    try:
        page.until("innerWidth === 360")
        assert page.run("document.documentElement.scrollWidth") <= 360
        bottom = page.run("document.getElementById('interrupt').getBoundingClientRect().bottom")
        assert bottom <= 740, "all controls are in sight"
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_page_comes_back_after_a_lost_connection(page: Page, server: Server) -> None:
    before = page.run("being.session.ready.session")
    page.run("being.session.socket.close(4999)")
    page.until("being.session.attempts === 0 && being.session.socket.readyState === 1 && being.session.received > 1000")
    assert page.run("being.session.ready.session") == before
    page.until(PLAYING)
