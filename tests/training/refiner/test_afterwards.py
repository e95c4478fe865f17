"""A refiner after training: made where it is wanted or pays, and never at the avatar's cost unless somebody asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from being.errors import InputError
from being.progress import Silent
from being.training.refiner import afterwards
from being.training.refiner.config import RefinerConfig

FOLDER = Path("avatar")


class Noted(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, **numbers: object) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("wanted", "asked", "device"),
    [
        (None, "cuda", "cuda"),
        (True, "cpu", "cpu"),
        (True, "cuda:1", "cuda:1"),
        (None, "cpu", None),
        (False, "cuda", None),
    ],
)
def test_it_is_made_where_it_is_wanted_or_pays(
    wanted: bool | None, asked: str, device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Result:
        stopped = True

    def fit(avatar: Path, footage: Path, config: RefinerConfig, *_: object, **__: object) -> Result:
        made.append(config.device)
        assert not config.learned
        return Result()

    monkeypatch.setattr(afterwards, "fit_refiner", fit)
    stopped = afterwards.refine_new(FOLDER, FOLDER, wanted, asked, Silent(), work=FOLDER)
    assert made == ([device] if device else []) and stopped == (device is not None)


def test_what_does_not_allow_one_is_noted_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object, **__: object) -> None:
        raise InputError("the footage holds no frame out", "Use longer footage")

    monkeypatch.setattr(afterwards, "fit_refiner", fit)
    noted = Noted()
    assert not afterwards.refine_new(FOLDER, FOLDER, None, "cuda", noted, work=FOLDER)
    assert noted.notes == ["no refiner was made: the footage holds no frame out"]
    with pytest.raises(InputError, match="no frame out"):
        afterwards.refine_new(FOLDER, FOLDER, True, "cuda", noted, work=FOLDER)
