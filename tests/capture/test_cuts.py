"""What takes part of a film: drawn scenes whose truth is known, seen as small as `Looks` sees them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from being.capture.cuts import Cut, Reason, find_cuts, frames_kept
from being.capture.landmarks.tracking import Track
from being.capture.looks import Looks
from being.errors import InputError

HEIGHT, WIDTH, SCALE = 18, 32, 20.0
FRAMES = 200


def scene(seed: int, skin: tuple[int, int, int], at: float = 16.0) -> NDArray[np.float64]:
    """A background of patches and a person before it (h, w, 3)."""
    random = np.random.default_rng(seed)
    out = np.kron(random.uniform(40, 210, (HEIGHT // 3, WIDTH // 4, 3)), np.ones((3, 4, 1)))
    out[5:12, int(at - 3) : int(at + 3)] = skin
    out[12:, int(at - 6) : int(at + 6)] = (40, 50, 90)
    return out


SKIN = (190, 140, 120)
HOME = scene(0, SKIN)


def film() -> NDArray[np.float64]:
    """The person at home, swaying a little."""
    random = np.random.default_rng(1)
    return np.repeat(HOME[None], FRAMES, 0) + random.normal(0, 1, (FRAMES, 1, 1, 3))


def tracked(found: NDArray[np.bool_] | None = None, at: NDArray[np.float64] | None = None, tall: float = 7) -> Track:
    """A face of `tall` cells whose middle is at column `at` of row 8.5."""
    middle = np.full(FRAMES, 16.0) if at is None else at
    random = np.random.default_rng(2)
    points = random.uniform(-0.5, 0.5, (478, 3)) * (0.8 * tall, tall, tall)
    points[0], points[1] = (-0.4 * tall, -tall / 2, 0), (0.4 * tall, tall / 2, 0)
    where = np.stack([middle, np.full(FRAMES, 8.5), np.zeros(FRAMES)], 1)
    meshes = ((points[None] + where[:, None]) * SCALE).astype(np.float32)
    seen = np.ones(FRAMES, bool) if found is None else found
    return Track(meshes, seen, seen.astype(np.int64))


def looks(cells: NDArray[np.float64]) -> Looks:
    return Looks(np.clip(np.round(cells), 0, 255).astype(np.uint8), (SCALE, SCALE))


def left_out(cuts: tuple[Cut, ...]) -> NDArray[np.bool_]:
    out = np.zeros(FRAMES, bool)
    for cut in cuts:
        out[cut.start : cut.stop] = True
    return out


def without(first: int, last: int) -> NDArray[np.bool_]:
    return (np.arange(FRAMES) < first) | (np.arange(FRAMES) >= last)


def test_a_plain_film_is_used_whole() -> None:
    assert find_cuts(tracked(), looks(film())) == ()
    slips = np.ones(FRAMES, bool)
    slips[[50, 51, 120]] = False  # the tracker lost the face for a moment, the picture went on
    assert find_cuts(tracked(slips), looks(film())) == ()


def test_black_title_and_cutaway_are_left_out() -> None:
    for picture, reason in (
        (np.zeros(3), Reason.BLACK),
        (np.full(3, 250.0), Reason.BLANK),
        (scene(9, SKIN), Reason.NO_FACE),
    ):
        cells = film()
        cells[80:105] = picture
        cuts = find_cuts(tracked(without(80, 105)), looks(cells))
        assert {cut.reason for cut in cuts} == {reason}
        assert left_out(cuts)[80:105].all() and left_out(cuts).sum() <= 25 + 4


@pytest.mark.parametrize("ends", [0, 1])
def test_fades_are_left_out_to_where_they_are_over(ends: int) -> None:
    cells = film()
    fade = np.clip(np.arange(FRAMES) / 25, 0, 1)[:: -1 if ends else 1]
    found = fade > 0.2  # a tracker sees the face in the dark
    out = left_out(find_cuts(tracked(found), looks(cells * fade[:, None, None, None])))
    faded = fade < 0.9
    assert out[faded].all() and not out[(fade >= 1)][5:-5].any()


def test_a_dissolve_is_left_out() -> None:
    cells = film()
    other = scene(5, (90, 120, 90))
    share = np.interp(np.arange(FRAMES), [90, 110, 130, 150], [0, 1, 1, 0])[:, None, None, None]
    found = share[:, 0, 0, 0] < 0.6
    out = left_out(find_cuts(tracked(found), looks(cells * (1 - share) + other * share)))
    assert out[94:147].all() and out.sum() < 75


def test_another_person_is_another_scene() -> None:
    cells, at = film(), np.full(FRAMES, 16.0)
    cells[60:110], at[60:110] = scene(3, (110, 60, 50), at=8), 8
    cuts = find_cuts(tracked(at=at), looks(cells))
    assert {cut.reason for cut in cuts} == {Reason.OTHER}
    assert left_out(cuts)[60:110].all() and left_out(cuts).sum() <= 54


def test_the_same_person_before_another_background_is_kept() -> None:
    cells = film()
    cells[100:] = scene(7, SKIN)
    assert find_cuts(tracked(), looks(cells)) == ()


def test_a_camera_that_pans_makes_no_cut() -> None:
    random = np.random.default_rng(3)
    wall = np.kron(random.uniform(60, 200, (HEIGHT // 3, 60, 3)), np.ones((3, 4, 1)))
    cells = np.stack([wall[:, int(i * 0.8) : int(i * 0.8) + WIDTH] for i in range(FRAMES)])
    cells[:, 5:12, 13:19], cells[:, 12:, 10:22] = SKIN, (40, 50, 90)
    assert find_cuts(tracked(), looks(cells)) == ()


def test_what_the_file_lacks_is_left_out() -> None:
    nothing = ~without(70, 90)
    cuts = find_cuts(tracked(), looks(film()), no_picture=nothing)
    assert cuts == (Cut(70, 90, Reason.NO_PICTURE),)
    (cut,) = find_cuts(tracked(), looks(film()), no_sound=nothing)
    assert cut.reason is Reason.NO_SOUND and cut.start <= 63 and cut.stop >= 97  # the windows beside hear the hole


def test_too_little_is_refused_with_the_reasons() -> None:
    cuts = (Cut(0, 150, Reason.BLACK), Cut(170, 200, Reason.NO_FACE))
    assert frames_kept(cuts, FRAMES, 0.5).tolist() == list(range(150, 170))
    with pytest.raises(InputError) as caught:
        frames_kept(cuts, FRAMES, 3.0)
    assert "black picture 6.0 s, no face 1.2 s" in caught.value.problem
