"""What a file is that is neither sound nor film, by its first bytes: so that a message can name it."""

from __future__ import annotations

_SIGNATURES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"MThd", "MIDI: notes, not sound"),
    (b"#EXTM3U", "a playlist, not the sound itself"),
    (b"[playlist]", "a playlist, not the sound itself"),
    (b"ffconcat", "a playlist, not the sound itself"),
    (b"v=0", "a session description, not the sound itself"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def other_kind(head: bytes) -> str:
    """ "a PNG picture", ...; "" where the first bytes tell nothing."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lowered = text[:200].lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "a web page: the download went wrong"
    if b"<mpd" in lowered:
        return "a playlist, not the sound itself"
    if not head.strip(b"\0"):
        return "nothing but zeros: the copy or download went wrong"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "text" if printable > 0.97 * len(head) else ""
