"""What is trained with where nobody said, by the seconds of footage."""

from __future__ import annotations

from pathlib import Path

import pytest

from being.constants import FPS
from being.dataset import Dataset
from being.training.defaults import FEW_S, MANY_S, config_for


def of_seconds(clip: Path, seconds: float) -> Dataset:
    data = Dataset(clip)
    data.frames = round(seconds * FPS)
    return data


def test_settings_go_from_seconds_to_minutes_without_a_jump(clip: Path) -> None:
    graded = ("feature_noise", "dropout", "camera_noise", "static_minutes_share")
    times = (2.0, FEW_S, 16.0, 24.0, MANY_S, 300.0)
    configs = [config_for(of_seconds(clip, seconds), "cpu", 5.0) for seconds in times]
    for name in graded:
        values = [getattr(config, name) for config in configs]
        assert values[0] == values[1] > values[2] > values[3] > values[4] == values[5], name
    assert configs[2].feature_noise == pytest.approx(0.3125) and configs[3].lr.network == pytest.approx(1.5e-3)


def test_the_audio_encoder_is_frozen_on_very_few_seconds_alone(clip: Path) -> None:
    few, some, many = (config_for(of_seconds(clip, seconds), "cpu", 5.0) for seconds in (6.0, 20.0, 60.0))
    assert few.freeze_audio_encoder and not some.freeze_audio_encoder and not many.freeze_audio_encoder
    assert not few.sound_rates and some.sound_rates and many.sound_rates
    assert few.rehearsal == some.rehearsal == many.rehearsal > 0
    assert few.audio_gain == 1.0 < some.audio_gain
    assert not config_for(of_seconds(clip, 300.0), "cpu", 5.0).rehearsal
    assert few.pretrained_parts == some.pretrained_parts == "network" and many.pretrained_parts == "audio_encoder"


def test_lips_are_led_by_the_film_whatever_there_is_of_it(clip: Path) -> None:
    for seconds in (3.0, 20.0, 300.0):
        config = config_for(of_seconds(clip, seconds), "cpu", 5.0)
        assert config.loss.lip_motion > 0 and config.lips_parted


def test_faces_are_taught_sharper_where_there_are_steps_enough(clip: Path) -> None:
    assert config_for(of_seconds(clip, 20.0), "cuda", 4.0).sharpening > 1.0
    assert config_for(of_seconds(clip, 20.0), "cpu", 30.0).sharpening == 1.0


@pytest.mark.parametrize(
    ("side", "device", "count"),
    [(512, "cuda", 20_000), (1080, "cuda", 50_000), (720, "cuda", 22_539), (1080, "cpu", 8000)],
)
def test_large_pictures_have_more_gaussians(clip: Path, side: int, device: str, count: int) -> None:
    data = of_seconds(clip, 60.0)
    data.width = data.height = side
    assert config_for(data, device, 5.0).gaussians == count
