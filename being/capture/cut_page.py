"""What was left out of a film, for the report: a bar of the whole film, and the list."""

from __future__ import annotations

from html import escape

from being.capture.cuts import Cut, Reason
from being.capture.findings import CaptureReport
from being.constants import FPS

_USED = "#10b981"
_COLOURS = {
    Reason.BLACK: "#111827",
    Reason.BLANK: "#e5e7eb",
    Reason.NO_FACE: "#f59e0b",
    Reason.OTHER: "#8b5cf6",
    Reason.FADE: "#6b7280",
    Reason.DIM: "#374151",
    Reason.CROWD: "#ec4899",
    Reason.NO_PICTURE: "#ef4444",
    Reason.NO_SOUND: "#3b82f6",
    Reason.SHORT: "#9ca3af",
}
_HEIGHT = 26  # of the bar; it is 1000 wide


def cut_section(report: CaptureReport) -> str:
    """The section of the page; empty where all of the film was used."""
    if not report.cuts:
        return ""
    across = 1000 / max(report.filmed, 1)
    rest = (report.filmed - sum(cut.stop - cut.start for cut in report.cuts)) / FPS
    pieces = "".join(
        f'<rect x="{cut.start * across:.1f}" y="0" width="{max((cut.stop - cut.start) * across, 1):.1f}" '
        f'height="{_HEIGHT}" fill="{_COLOURS[cut.reason]}"><title>{escape(str(cut))}</title></rect>'
        for cut in report.cuts
    )
    bar = (
        f'<svg viewBox="0 0 1000 {_HEIGHT}" preserveAspectRatio="none" style="height:{_HEIGHT}px;border-radius:6px" '
        f'role="img" aria-label="cut list"><rect width="1000" height="{_HEIGHT}" fill="{_USED}"/>{pieces}</svg>'
    )
    head = "<tr><td><b>from</b></td><td><b>to</b></td><td><b>seconds</b></td><td><b>left out for</b></td></tr>"
    rows = "".join(_row(cut, *report.seconds_of(cut)) for cut in report.cuts)
    return (
        f"<h2>Cut list</h2><p>{rest:.1f} s of {report.filmed / FPS:.1f} s are used (green); these parts show something "
        "else and take no part in plate, poses and training. Each picture that is used keeps the sound it was filmed "
        f"with.</p>{bar}<p></p><table>{head}{rows}</table>"
    )


def _row(cut: Cut, start: float, stop: float) -> str:
    mark = f'<span style="color:{_COLOURS[cut.reason]}">&#9632;</span> '
    return f"<tr><td>{start:.2f} s</td><td>{stop:.2f} s</td><td>{stop - start:.2f}</td><td>{mark}{cut.reason}</td></tr>"
