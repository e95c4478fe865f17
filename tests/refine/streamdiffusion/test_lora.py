"""LoRA files in the three usual spellings, added to weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("diffusers", reason="needs being[refine]")
from support.tiny_diffusion import make_unet

from being.errors import FormatError, InputError
from being.refine.streamdiffusion.lora import with_lora

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"
SPELLINGS = {
    "peft": ("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"),
    "diffusers": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
    "kohya": ("lora_unet_{}.lora_down.weight", "lora_unet_{}.lora_up.weight"),
}


def change_of(unet: object, name: str, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    weight = unet.get_submodule(name).weight  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(len(name))
    down = torch.randn(rank, *weight.shape[1:], generator=generator)
    up = torch.randn(len(weight), rank, *[1] * (weight.dim() - 2), generator=generator)
    return down, up


@pytest.mark.parametrize("spelling", list(SPELLINGS))
def test_the_product_is_added_and_the_rest_shared(tmp_path: Path, spelling: str) -> None:
    unet = make_unet()
    before = {name: value.clone() for name, value in unet.named_parameters()}
    tensors = {"text_encoder.layer.lora_A.weight": torch.ones(2, 2)}  # left out
    for name in (LINEAR, CONV):
        down, up = change_of(unet, name)
        stem = name.replace(".", "_") if spelling == "kohya" else name
        tensors[SPELLINGS[spelling][0].format(stem)] = down
        tensors[SPELLINGS[spelling][1].format(stem)] = up
        if spelling == "kohya":
            tensors[f"lora_unet_{stem}.alpha"] = torch.tensor(1.0)
    save_file(tensors, tmp_path / "person.safetensors")
    changed = with_lora(unet, tmp_path / "person.safetensors", scale=0.5)
    factor = 0.5 * (1.0 / 2 if spelling == "kohya" else 1.0)
    for name, value in changed.named_parameters():
        layer = name.removesuffix(".weight")
        if layer not in (LINEAR, CONV):
            assert value is unet.get_parameter(name)
            continue
        down, up = change_of(unet, layer)
        product = (up.flatten(1) @ down.flatten(1)).view(value.shape)
        torch.testing.assert_close(value, before[name] + factor * product)
    assert all(torch.equal(value, before[name]) for name, value in unet.named_parameters())


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    unet, path = make_unet(), tmp_path / "person.safetensors"
    with pytest.raises(InputError, match="missing"):
        with_lora(unet, path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(FormatError, match="safetensors") as caught:
        with_lora(unet, path)
    assert "\n" not in str(caught.value)
    down, up = change_of(unet, LINEAR)
    for tensors, reason in (
        ({"unet.nowhere.lora_A.weight": down, "unet.nowhere.lora_B.weight": up}, "no layer 'nowhere'"),
        ({f"unet.{LINEAR}.lora_A.weight": down}, "only half"),
        ({f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up[1:]}, "does not fit"),
        ({f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up[:, 1:]}, "ranks"),
        ({"text_encoder.layer.lora_A.weight": down}, "no layer of the denoising network"),
    ):
        save_file({name: value.clone() for name, value in tensors.items()}, path)
        with pytest.raises(FormatError, match=reason):
            with_lora(unet, path)
