"""Settings, command lines and checkpoints that use the names of earlier versions."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from being.training.config import FitConfig
from being.training.former_names import with_former_names
from being.training.options import config_of, fit_options

THEN = {"prior": "none", "prior_parts": "ear", "keep_ear": True, "prove": False}
NOW = {
    "pretrained": "none",
    "pretrained_parts": "audio_encoder",
    "freeze_audio_encoder": True,
    "quality_suite": False,
}


@click.command()
@fit_options
def echo(**values: object) -> None:
    print(config_of(dict(values)).model_dump_json())


def test_settings_of_earlier_versions_are_read() -> None:
    """As a `metrics.json` of an earlier version has them."""
    config = FitConfig.model_validate(THEN)
    assert config == FitConfig.model_validate(NOW)
    assert config.pretrained == "none" and config.freeze_audio_encoder and not config.quality_suite
    assert FitConfig.model_validate({"prior": "ada", "pretrained": "eve"}).pretrained == "eve"
    with pytest.raises(ValueError, match="prior_part\n"):
        FitConfig.model_validate({"prior_part": "ear"})


def test_options_of_earlier_versions_are_read_and_not_shown() -> None:
    arguments = "--prior none --prior-parts ear --keep-ear true --prove false"
    config = FitConfig.model_validate_json(CliRunner().invoke(echo, arguments.split()).output)
    assert config == FitConfig.model_validate(NOW)
    shown = CliRunner().invoke(echo, ["--help"], terminal_width=200).output
    assert "--pretrained-parts" in shown and "--prior" not in shown and "--keep-ear" not in shown


def test_fingerprints_of_checkpoints_stay_what_they_were() -> None:
    """They are made of the names that the checkpoints were written under; hashes of 21b279d were compared once."""
    dumped = with_former_names(FitConfig.model_validate(NOW).model_dump(mode="json"))
    assert {name: dumped[name] for name in THEN} == THEN
    assert not set(NOW) & set(dumped)
    assert FitConfig.model_validate(json.loads(json.dumps(dumped))) == FitConfig.model_validate(NOW)
