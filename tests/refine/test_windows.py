"""Which square of a frame is refined, and how its mask falls off."""

from __future__ import annotations

import numpy as np
import pytest

from being.refine.windows import PADDING, Window, face_masks, window_of

SIZES = (128, 192, 256, 384, 512)


@pytest.mark.parametrize(
    ("box", "frame", "window"),
    [
        ((200, 200, 300, 280), (512, 512), Window(154, 144, 192, 192)),  # 100 px padded to 140
        ((0, 0, 100, 100), (512, 512), Window(0, 0, 192, 192)),  # moved inside
        ((412, 400, 512, 512), (512, 512), Window(320, 320, 192, 192)),
        ((800, 300, 1100, 640), (1920, 1080), Window(694, 214, 512, 512)),  # a 1080p frame costs its face
        ((60, 60, 400, 440), (450, 480), Window(0, 25, 450, 512)),  # no size fits: resampled
        ((500, 100, 1200, 900), (1920, 1080), Window(310, 0, 1080, 512)),
        ((20, 20, 40, 40), (64, 48), Window(16, 16, 28, 128)),
    ],
)
def test_the_window_is_the_smallest_size_that_holds_the_face(
    box: tuple[float, float, float, float], frame: tuple[int, int], window: Window
) -> None:
    found = window_of(box, *frame, SIZES)
    assert found == window
    assert 0 <= found.x <= frame[0] - found.side and 0 <= found.y <= frame[1] - found.side


def test_the_mask_is_whole_inside_the_box_and_nothing_beyond_its_padding() -> None:
    box, window = (70.0, 80.0, 170.0, 180.0), Window(20, 30, 192, 192)
    across, down = face_masks([box], [window])[0]
    assert across.shape == (192,)
    assert (across[50:150] == 1).all() and (down[50:150] == 1).all()
    reach = int(PADDING * 100)
    assert (across[: 50 - reach] == 0).all() and (across[150 + reach :] == 0).all()
    assert (np.abs(np.diff(across)) < 0.1).all()


def test_a_resampled_crop_has_its_mask_resampled() -> None:
    box = (70.0, 80.0, 170.0, 180.0)
    whole = face_masks([box], [Window(20, 30, 192, 192)])[0]
    half = face_masks([box], [Window(20, 30, 192, 96)])[0]
    np.testing.assert_allclose(half, whole.reshape(2, 96, 2).mean(-1), atol=0.01)
