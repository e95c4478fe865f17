"""A decoded frame as RGB that looks as a player shows it on a standard display.

Matrix and range come from the frame's tags (ITU-T H.273); without a tag HD is BT.709 and smaller is BT.601, as players
have it. HDR and wide-gamut film goes through a table made from `being.media.reading.tone_map`.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.media.reading.tone_map import Coding, to_bt709

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

HD_LINES, HD_COLUMNS = 720, 1280  # a picture of so many lines or columns is HD
TABLE_SIDE = 65  # entries of the colour table along each of R', G', B'
_BT709, _BT2020 = 1, 9  # H.273 matrix coefficients, as FFmpeg's scaler numbers them too
_UNSAID = (0, 2, 3)  # RGB (said of YCbCr it says nothing), unspecified, reserved
_CONSTANT_LUMINANCE = 10  # BT.2020's other form, which nobody films with: read as the usual one
_PQ, _HLG = 16, 18  # H.273 transfer characteristics
_UNSPECIFIED = 2
_DOLBY_TAGS = ("dvh1", "dvhe", "dva1", "dvav", "dav1")
_DOLBY_DATA = ("DOVI_METADATA", "DOVI_RPU_BUFFER")  # beside a decoded frame
_PRIMARIES = {9: Coding.WIDE, 11: Coding.P3, 12: Coding.P3}  # H.273 colour primaries

_per_thread = threading.local()


def to_rgb(frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of a decoded frame, not turned. Not for two threads at a time with one frame."""
    matrix, coding = _matrix(frame), coding_of(frame)
    if coding is None:
        plain = _kept("rgb24").reformat(frame, width=width, height=height, format="rgb24", src_colorspace=matrix)
        return np.asarray(plain.to_ndarray(), np.uint8)
    deep = _kept("rgb48le").reformat(frame, width=width, height=height, format="rgb48le", src_colorspace=matrix)
    shown = _kept("shown").reformat(_through_table(deep, coding), format="rgb24")
    return np.asarray(shown.to_ndarray(), np.uint8)


def coding_of(frame: av.VideoFrame) -> Coding | None:
    """What must be converted; None for what a standard display shows as it is."""
    curve = int(frame.color_trc or 0)
    if curve in (_PQ, _HLG):
        return Coding.PQ if curve == _PQ else Coding.HLG
    return _PRIMARIES.get(int(frame.color_primaries or 0))


def is_dolby_alone(frame: av.VideoFrame, tag: str) -> bool:
    """Whether a film is Dolby Vision whose colours only a decoder of that knows (profile 5).

    Its other profiles are HDR10, HLG or BT.709 for everybody else, and tagged so. tag : of the codec in the container.
    """
    dolby = tag in _DOLBY_TAGS or any(frame.side_data.get(name) is not None for name in _DOLBY_DATA)
    return dolby and int(frame.color_trc or 2) == _UNSPECIFIED


def _matrix(frame: av.VideoFrame) -> int | None:
    """The YCbCr matrix where the scaler would not take the right one by itself."""
    said = int(frame.colorspace if frame.colorspace is not None else 2)
    if said == _CONSTANT_LUMINANCE:
        return _BT2020
    if frame.format.is_rgb or said not in _UNSAID:
        return None
    if coding_of(frame) in (Coding.PQ, Coding.HLG, Coding.WIDE):
        return _BT2020
    return _BT709 if frame.height >= HD_LINES or frame.width >= HD_COLUMNS else None


def _kept(use: str) -> VideoReformatter:
    """This thread's converter for one use. A frame's own starts a thread for each core, and ends them, every time."""
    from av.video.reformatter import VideoReformatter

    kept: dict[str, VideoReformatter] = _per_thread.__dict__.setdefault("converters", {})
    if use not in kept:
        kept[use] = VideoReformatter()
    return kept[use]


def _through_table(frame: av.VideoFrame, coding: Coding) -> av.VideoFrame:
    """An rgb48le frame through the table of a coding, by FFmpeg's lut3d; each thread has filters of its own."""
    graphs: dict[tuple[int, int, Coding], Any] = _per_thread.__dict__.setdefault("graphs", {})
    key = frame.width, frame.height, coding
    if key not in graphs:
        graphs.clear()  # one film at a time
        graphs[key] = _graph(*key)
    frame.pts = None
    graphs[key].push(frame)
    shown: av.VideoFrame = graphs[key].pull()
    return shown


def _graph(width: int, height: int, coding: Coding) -> Any:
    from av.filter import Graph
    from av.video.format import VideoFormat

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb48le"), time_base=Fraction(1, 25))
    filter = graph.add("lut3d", file=str(_table(coding)), interp="tetrahedral")
    sink = graph.add("buffersink")
    source.link_to(filter)
    filter.link_to(sink)
    graph.configure()
    return graph


_making = threading.Lock()


def _table(coding: Coding) -> Path:
    with _making:
        return _written_table(coding)


@cache
def _written_table(coding: Coding) -> Path:
    """The table as a .cube file that lives as long as the process; red changes fastest."""
    levels = np.linspace(0, 1, TABLE_SIDE)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    colours = to_bt709(np.stack([red, green, blue], -1), coding).reshape(-1, 3)
    folder = tempfile.mkdtemp(prefix="being-colour-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / f"{coding.name.lower()}.cube"
    lines = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in colours)
    path.write_text(f"LUT_3D_SIZE {TABLE_SIDE}\n{lines}\n", "ascii")
    return path
