"""A report as one HTML file that needs nothing else: the page around its parts, and pictures inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --ink: #0f172a; --soft: #64748b; --line: #e2e8f0; --page: #f8fafc; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e8f0; --soft: #94a3b8; --line: #334155; --page: #0f172a; --card: #1e293b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 80px; }
"""


def page(title: str, style: str, body: Iterable[str]) -> str:
    """The whole file; `style` is CSS beyond what all reports share, `body` HTML."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style.lstrip()}</style><main>{''.join(body)}</main></html>"
    )


def inline_picture(rgb: NDArray[np.uint8], alt: str, quality: int = 90) -> str:
    """An RGB picture (H, W, 3) as an element that holds its JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
