"""Configuration and its command line, schedule, checkpoint, speech, charts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from being.audio.talking import talking_frames
from being.errors import FormatError, InputError
from being.progress import JsonLines
from being.report.charts import Line, line_chart, nice_ticks
from being.training.checkpoint import NAME, load_checkpoint, save_checkpoint
from being.training.config import FitConfig
from being.training.options import config_of, fields_of, fit_options
from being.training.schedule import decay, stages, warm_cosine, whole_run


@click.command()
@fit_options
def echo(**values: object) -> None:
    click.echo(config_of(values).model_dump_json())
    assert not values


def test_every_field_is_an_option() -> None:
    text = CliRunner().invoke(echo, ["--help"], terminal_width=200).output
    for path, _ in fields_of(FitConfig):
        assert "--" + "-".join(path).replace("_", "-") in text


def test_options_reach_the_config() -> None:
    arguments = "--minutes 2.5 --look-ahead published --loss-lips 0.3 --lr-xyz 1e-4"
    arguments += " --plane-resolutions 16,32 --densify-rounds 3"
    result = CliRunner().invoke(echo, arguments.split())
    config = FitConfig.model_validate_json(result.output)
    assert config.minutes == 2.5 and config.look_ahead == "published" and config.loss.lips == 0.3
    assert config.lr.xyz == 1e-4 and config.plane_resolutions == (16, 32) and config.densify.rounds == 3
    assert FitConfig.model_validate_json(CliRunner().invoke(echo, []).output) == FitConfig()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--batch 0", "--batch"),
        ("--loss-lips -1", "--loss-lips"),
        ("--precision double", "--precision"),
        ("--gaussians 100 --initial-gaussians 200", "initial_gaussians 200 exceed"),
        ("--minutes soon", "--minutes"),
    ],
)
def test_wrong_options_are_named(arguments: str, message: str) -> None:
    error = CliRunner().invoke(echo, arguments.split()).exception
    assert isinstance(error, InputError) and message in str(error)


def test_stages_by_steps_and_by_the_clock() -> None:
    static, network = stages(FitConfig(static_steps=10, network_steps=0))
    assert static.fraction(5, 1e9) == 0.5 and network.fraction(0, 0) == 1
    static, network = stages(FitConfig(minutes=1, static_minutes_share=0.25))
    assert static.seconds == 15 and network.seconds == 45
    assert network.fraction(10**9, 9) == pytest.approx(0.2)
    assert whole_run("run", None, 2).fraction(10**9, 30) == 0.25 and whole_run("run", 10, 2).fraction(5, 1e9) == 0.5
    assert decay(0, 0.01) == 1 and decay(1, 0.01) == pytest.approx(0.01)
    assert [warm_cosine(f, 0.2, 0.1) for f in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.55, 0.1])


def test_checkpoint_round_trip_and_refusals(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "generator": torch.Generator().manual_seed(1).get_state()}
    assert load_checkpoint(tmp_path, "mark") is None
    save_checkpoint(tmp_path, "mark", tensors, {"step": 3})
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    found = load_checkpoint(tmp_path, "mark")
    assert found is not None and found[1] == {"step": 3}
    assert all(torch.equal(found[0][name], value) for name, value in tensors.items())
    with pytest.raises(InputError, match="other settings"):
        load_checkpoint(tmp_path, "another")
    save_checkpoint(tmp_path, "mark", {"a": torch.tensor([float("nan")])}, {})
    with pytest.raises(FormatError, match="a is not finite"):
        load_checkpoint(tmp_path, "mark")
    (tmp_path / NAME).write_bytes(b"\x80\x04torn")
    with pytest.raises(FormatError, match="is damaged"):
        load_checkpoint(tmp_path, "mark")


def test_talking_follows_the_level_and_bridges_short_pauses() -> None:
    frame = 640
    rng = np.random.default_rng(0)
    audio = np.zeros(100 * frame, np.float32)
    for start, stop in ((10, 30), (34, 50), (80, 100)):  # a pause of 4 frames, then one of 30
        audio[start * frame : stop * frame] = 0.3 * rng.standard_normal((stop - start) * frame)
    audio += 1e-4 * rng.standard_normal(len(audio)).astype(np.float32)
    talking = talking_frames(audio, 102)  # two frames after the end of the sound
    expected = np.zeros(102, bool)
    expected[10:50] = expected[80:100] = True
    assert np.array_equal(talking, expected)
    assert not talking_frames(np.zeros(6400, np.float32), 10).any()


def test_charts_have_their_points_and_round_ticks() -> None:
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    svg = line_chart([Line("loss", [(0, 1.0), (10, 0.1), (20, 0.01)], "#123456")], "step", logarithmic=True)
    points = re.search(r'points="([^"]+)"', svg)
    assert points is not None
    ys = [float(pair.split(",")[1]) for pair in points.group(1).split()]
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.2)  # equal factors are equal steps
    assert "No points" in line_chart([], "step")


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JsonLines()
    progress.part("static")
    progress.update(1.0, loss=0.123456789)
    progress.note("done", psnr=30.0)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[1]["loss"] == 0.12346 and lines[1]["part"] == "static" and lines[2]["note"] == "done"
