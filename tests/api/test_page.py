"""The page in a real browser: it comes alive by itself, talks, is heard, can be interrupted, and fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import Server, wav
from chromium import CHROMIUM, Page, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium, or BEING_CHROMIUM)")

STATE = "document.getElementById('stage').dataset.state"
# Loudness of what the page plays, and how much its picture changes, watched from inside the page.
WATCH = """(() => {
  const video = document.getElementById("picture");
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaElementSource(video).connect(analyser).connect(context.destination);
  const samples = new Float32Array(analyser.fftSize);
  window.loudness = () => {
    analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
  };
  const canvas = new OffscreenCanvas(64, 48).getContext("2d", { willReadFrequently: true });
  window.picture = () => {
    canvas.drawImage(video, 0, 0, 64, 48);
    return Array.from(canvas.getImageData(0, 0, 64, 48).data);
  };
  return context.resume().then(() => true);
})()"""
CLICK = "document.getElementById('{}').click()"


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Page]:
    """A browser on the page, playing; its microphone hears a tone."""
    (tmp_path / "voice.wav").write_bytes(wav(20.0, 48_000))
    with browser([f"--use-file-for-fake-audio-capture={tmp_path / 'voice.wav'}"]) as tab:
        tab.open(f"{server.url}/")
        tab.until("window.being && being.player.video.currentTime > 0.3", 40)
        yield tab
        assert tab.errors == []


def test_picture_moves_and_numbers_show(page: Page) -> None:
    page.run(WATCH)
    before = page.run("picture()")
    page.until("being.player.video.currentTime > 1.5")
    after = page.run("picture()")
    changed = sum(abs(a - b) > 8 for a, b in zip(before, after, strict=True)) / len(before)
    assert changed > 0.01, "an idle avatar moves"
    page.until("document.getElementById('fps').textContent > 0")
    page.until("/ms/.test(document.getElementById('latency').textContent)")
    assert page.run("document.getElementById('lookahead').textContent").endswith("ms")
    assert page.run("being.player.ahead") < 1.0, "the page plays close to now"


def test_sample_is_heard_and_interrupted(page: Page) -> None:
    page.run(WATCH)
    assert page.run("loudness()") < 1e-3
    page.run(CLICK.format("sample"))
    page.until(f"{STATE} === 'speaking'")
    page.until("loudness() > 0.01")
    page.run(CLICK.format("interrupt"))
    silent_after = page.run(
        """new Promise((resolve) => {
          const started = performance.now();
          let heard = started;
          const timer = setInterval(() => {
            const now = performance.now();
            if (loudness() > 0.003) heard = now;
            if (now - started > 1500) { clearInterval(timer); resolve(heard - started); }
          }, 10);
        })"""
    )
    assert silent_after < 300, "old sound goes on after the interruption"  # 50 ms of it are the analyser's own window
    page.until(f"{STATE} === 'listening'")
    assert page.run("document.getElementById('interrupt').disabled")


def test_file_is_spoken(page: Page, tmp_path: Path) -> None:
    (tmp_path / "said.wav").write_bytes(wav(1.0, 22_050))
    page.run(WATCH)
    page.choose_file("#chosen", tmp_path / "said.wav")
    page.until("loudness() > 0.01")
    page.until(f"{STATE} === 'speaking'")
    page.until(f"{STATE} === 'listening'", 30)


def test_microphone_is_spoken(page: Page, server: Server) -> None:
    page.run(CLICK.format("microphone"))
    page.until(f"{STATE} === 'speaking'")
    assert page.run("document.getElementById('microphone').getAttribute('aria-pressed')") == "true"
    assert page.run("being.player.video.muted"), "one's own voice must not come back through the speakers"
    page.run(CLICK.format("microphone"))
    page.until(f"{STATE} === 'listening'", 30)


def test_background_changes(page: Page) -> None:
    page.run(WATCH)
    page.run("document.querySelector('#backgrounds input[value=\"#00b140\"]').click()")
    page.until("(() => { const p = picture(); return p[0] < 60 && p[1] > 130 && p[2] < 110; })()")


def test_page_fits_a_phone(page: Page) -> None:
    page.resize(360, 740, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 360
    bottom = page.run("document.getElementById('interrupt').getBoundingClientRect().bottom")
    assert bottom <= 740, "all controls are in sight"


def test_page_comes_back_after_a_lost_connection(page: Page, server: Server) -> None:
    before = page.run("being.session.ready.session")
    page.run("being.session.socket.close(4999)")
    page.until("being.session.attempts === 0 && being.session.socket.readyState === 1 && being.session.received > 1000")
    assert page.run("being.session.ready.session") == before
    page.until("being.player.video.currentTime > 0.3 && !being.player.video.paused")
