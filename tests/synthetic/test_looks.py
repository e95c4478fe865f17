"""Other people: what a look names is what the kernels read and what a frame shows; the truth goes with it."""

from __future__ import annotations

from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import pytest

from being.commands.synth import command
from being.dataset import Dataset
from being.dataset.parsing import HEAD
from being.errors import InputError
from being.synthetic import Performance, generate, listen, looks, plan, render, rig
from being.synthetic.frame import render_frame
from being.synthetic.looks import FIRST, LOOKS, Look, look_named
from being.synthetic.script import SENTENCES, sentences_in
from being.synthetic.tracing import draw_backdrop
from being.synthetic.voice import FORMANT

SIZE = 96
SPEAKING = rig.FaceState(jaw=0.6, smile=0.3)


def test_slots_are_where_the_fields_are() -> None:
    at = 0
    for field, value in zip(fields(Look), astuple(Look()), strict=True):
        slot = getattr(looks, field.name.upper(), None)
        if slot is None:
            assert at >= looks.PARAMETERS, field.name  # the rig's own come last
        else:
            assert slot == at, field.name
        at += np.size(value)
    assert Look().parameters().shape == (looks.PARAMETERS,)


def test_the_first_person_looks_as_ever() -> None:
    """Footage, avatars and figures of earlier days are of this picture."""
    frame = render_frame(SPEAKING, 64, 64)
    means = frame.image.reshape(16, 4, 16, 4, 3).mean((1, 3))  # nose, chin's shadow, wall, sleeve
    wanted = [(202, 148, 124), (144, 136, 121), (132, 146, 159), (55, 117, 117)]
    np.testing.assert_allclose(means[[8, 12, 2, 15], [8, 8, 2, 4]], wanted, atol=0.51)


@pytest.mark.parametrize("name", [name for name in LOOKS if name != FIRST])
def test_another_person_is_another_picture_with_its_own_truth(name: str) -> None:
    first, other = (render_frame(replace(SPEAKING, look=LOOKS[who]), SIZE, SIZE) for who in (FIRST, name))
    person = (first.parsing == HEAD) & (other.parsing == HEAD)
    assert np.abs(first.image[person].astype(int) - other.image[person]).mean() > 15
    assert (
        np.abs(draw_backdrop(SIZE, SIZE, LOOKS[name]).astype(int) - draw_backdrop(SIZE, SIZE, LOOKS[FIRST])).mean() > 5
    )
    away = np.linalg.norm(first.landmarks - other.landmarks, axis=1)
    assert 0.3 < away.max() < 0.08 * SIZE  # another face, in the same place
    inside = np.clip(other.landmarks[17:].round().astype(int), 0, SIZE - 1)
    assert (other.parsing[inside[:, 1], inside[:, 0]] == HEAD).all()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"glasses": 1.0}, "eyes"),
        ({"beard": 0.03}, "chin"),
        ({"hair_short": 1.0, "auricles": 1.0}, "sides"),
        ({"cloth_stripe": (0.9, 0.9, 0.9)}, "clothes"),
    ],
)
def test_what_is_changed_is_seen_where_it_belongs(change: dict[str, object], part: str) -> None:
    plain, changed = (render_frame(replace(SPEAKING, look=look), SIZE, SIZE) for look in (Look(), Look(**change)))  # type: ignore[arg-type]
    moved = np.abs(plain.image.astype(int) - changed.image).max(-1) > 12
    marks = plain.landmarks
    rows = np.arange(SIZE)[:, None] * np.ones(SIZE)[None]
    columns = rows.T
    places = {
        "eyes": abs(rows - marks[36:48, 1].mean()) < 12,
        "chin": (rows > marks[36:48, 1].mean()) & (rows < marks[8, 1] + 4),
        "sides": rows < marks[8, 1] + 12,
        "clothes": rows > marks[8, 1],
    }
    assert moved.sum() > 40
    assert moved[places[part]].sum() > 0.9 * moved.sum()
    assert moved[:, columns[0] < SIZE / 2].any() and moved[:, columns[0] > SIZE / 2].any()


def test_a_performance_keeps_its_person_and_older_files_have_the_first(tmp_path: Path) -> None:
    clip = listen(0.4, look="mei")
    clip.save(tmp_path / "clip.npz")
    assert Performance.load(tmp_path / "clip.npz").state(2).look == LOOKS["mei"]
    with np.load(tmp_path / "clip.npz") as file:
        np.savez(tmp_path / "older.npz", **{name: file[name] for name in file.files if name != "look"})
    older = Performance.load(tmp_path / "older.npz")
    assert older.person == LOOKS[FIRST]
    assert not np.array_equal(render(older, 2, 64, 64).image, render(clip, 2, 64, 64).image)


def test_footage_of_another_person_has_its_wall_and_is_continued_as_that_person_s_only(tmp_path: Path) -> None:
    generate(tmp_path / "bruno", performance=listen(0.2, look="bruno"), size=(48, 48))
    data = Dataset(tmp_path / "bruno")
    np.testing.assert_array_equal(data.background, draw_backdrop(48, 48, LOOKS["bruno"]))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "mei", seconds=0.4, size=(32, 32), look="mei", voices=[FORMANT], progress=stop)
    with pytest.raises(InputError, match="another clip"):
        generate(tmp_path / "mei", seconds=0.4, size=(32, 32), voices=[FORMANT])
    generate(tmp_path / "mei", seconds=0.4, size=(32, 32), look="mei", voices=[FORMANT])


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="no look 'otto'"):
        look_named("otto")
    with pytest.raises(InputError, match="no look 'otto'"):
        plan(2.0, voices=[FORMANT], look="otto")
    with pytest.raises(InputError, match="'xx'"):
        sentences_in("xx")


def test_the_command_offers_all_there_are() -> None:
    offered = {
        option.name: list(option.type.choices) for option in command.params if option.name in ("look", "language")
    }
    assert offered == {"look": list(LOOKS), "language": list(SENTENCES)}
