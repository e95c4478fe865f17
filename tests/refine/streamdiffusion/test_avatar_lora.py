"""An avatar's LoRA on disk: names, header, the base it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.tiny_diffusion import save_diffusion

from being.errors import FormatError, InputError
from being.refine.streamdiffusion.avatar_lora import (
    AvatarLora,
    LoraBase,
    LoraFacts,
    base_of,
    check_base,
    load_avatar_lora,
    save_avatar_lora,
)
from being.refine.streamdiffusion.loading import load_weights
from being.refine.streamdiffusion.settings import Lora, StreamDiffusionSettings

CPU = torch.device("cpu")
LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
BASE = LoraBase(model="tiny", unet="a", autoencoder="b", prompt="p", timesteps=(249,))
LORA = AvatarLora(LoraFacts(rank=2, strength=0.5, base=BASE), {LAYER: (torch.randn(2, 32), torch.randn(32, 2))})


def test_what_was_saved_is_read_under_the_names_of_peft(tmp_path: Path) -> None:
    save_avatar_lora(tmp_path / "lora.safetensors", LORA)
    found = load_avatar_lora(tmp_path / "lora.safetensors")
    assert found.facts == LORA.facts
    for got, expected in zip(found.factors[LAYER], LORA.factors[LAYER], strict=True):
        assert torch.equal(got, expected)
    assert set(load_file(tmp_path / "lora.safetensors")) == {
        f"unet.{LAYER}.lora_A.weight",
        f"unet.{LAYER}.lora_B.weight",
    }


def test_a_file_that_is_no_avatars_lora_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="safetensors"):
        load_avatar_lora(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(FormatError, match="header does not say"):
        load_avatar_lora(path)
    save_file({"a": torch.ones(1)}, path, {"being.lora": '{"kind": "streamdiffusion"}'})
    with pytest.raises(FormatError, match="header: rank"):
        load_avatar_lora(path)
    save_file({"a": torch.ones(1)}, path, {"being.lora": "{"})
    with pytest.raises(FormatError, match="header:") as caught:
        load_avatar_lora(path)
    assert "\n" not in str(caught.value) and "fit-refiner" in caught.value.remedy
    down, up = LORA.factors[LAYER]
    save_avatar_lora(path, AvatarLora(LORA.facts, {LAYER: (down, torch.full_like(up, torch.nan))}))
    with pytest.raises(FormatError, match="not finite"):
        load_avatar_lora(path)


DOWN, UP, ALPHA = (f"unet.{LAYER}.{name}" for name in ("lora_A.weight", "lora_B.weight", "alpha"))
EIGHT_BITS = torch.float8_e4m3fn


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({DOWN: torch.ones(0, 32), UP: torch.ones(32, 0), ALPHA: torch.tensor(1.0)}, "ranks"),
        ({DOWN: torch.ones(2, 32), UP: torch.ones(32, 3)}, "ranks"),
        ({DOWN: torch.ones(2, 32), UP: torch.ones(32, 2), ALPHA: torch.tensor(torch.nan)}, "alpha"),
        ({DOWN: torch.ones(2, 32), UP: torch.ones(32, 2), ALPHA: torch.ones(2)}, "alpha"),
        ({DOWN: torch.ones(2, 32).to(EIGHT_BITS), UP: torch.ones(32, 2).to(EIGHT_BITS)}, "floating point"),
        ({"unrelated": torch.ones(2)}, "no layer"),
    ],
)
def test_hostile_factors_are_refused_in_one_line(tmp_path: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path, {"being.lora": LORA.facts.model_dump_json()})
    with pytest.raises(FormatError, match=reason) as caught:
        load_avatar_lora(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_header_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    save_file({DOWN: torch.ones(2, 32)}, tmp_path / "lora.safetensors", {"being.lora": "[" * 200_000})
    with pytest.raises(FormatError, match="header"):
        load_avatar_lora(tmp_path / "lora.safetensors")


def test_a_lora_for_another_base_is_refused() -> None:
    check_base(LORA.facts, BASE.model_copy(update={"prompt": "q", "model": "the same elsewhere"}), "lora")
    for part in ("unet", "autoencoder", "controlnet"):
        with pytest.raises(InputError, match=f"lora was trained for another {part}") as caught:
            check_base(LORA.facts, BASE.model_copy(update={part: "other"}), "lora")
        assert "being fit-refiner" in caught.value.remedy and "\n" not in str(caught.value)
        assert "--model" not in caught.value.remedy  # alone it would train for another autoencoder again


def test_a_base_is_its_weights_in_any_precision_and_what_is_added_for_everybody(tmp_path: Path) -> None:
    folder = save_diffusion(tmp_path / "one")

    def base(folder: Path, **options: object) -> LoraBase:
        settings = StreamDiffusionSettings.model_validate(
            {"model": str(folder), "autoencoder": str(folder / "taesd"), "prompt": "a face", **options}
        )
        return base_of(load_weights(settings, CPU, torch.float32), settings)

    whole = base(folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path)
    assert base(folder) == whole
    other = base(save_diffusion(tmp_path / "two", seed=1))
    assert other.unet != whole.unet and other.autoencoder != whole.autoencoder
    save_avatar_lora(tmp_path / "style.safetensors", LORA)
    styled, weaker = (
        base(folder, loras=[Lora(file=str(tmp_path / "style.safetensors"), scale=scale)]) for scale in (1.0, 0.5)
    )
    assert len({whole.unet, styled.unet, weaker.unet}) == 3 and styled.autoencoder == whole.autoencoder
