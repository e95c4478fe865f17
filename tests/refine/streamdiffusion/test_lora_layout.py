"""A LoRA row by row against the same one merged into the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", reason="needs being[refine]")
from support.avatar_loras import RANK, random_factors
from support.tiny_diffusion import FIRST_KIND, UNET, WIDTH, make_unet

from being.errors import FormatError, InputError
from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.avatar_lora import AvatarLora, LoraBase, LoraFacts, pack_checked, save_avatar_lora
from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.lora import with_lora
from being.refine.streamdiffusion.lora_layout import LoraLayout

PROMPT = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(1))
FACTS = LoraFacts(rank=RANK, base=LoraBase(model="tiny", unet="a", autoencoder="b", prompt="", timesteps=(249,)))
PLACES = torch.zeros(3, dtype=torch.long)


def denoiser_of(unet: Any) -> Denoiser:
    return Denoiser(unet, PROMPT, (249,), twins)


def latents(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 8, 8, 4, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("config", [UNET, FIRST_KIND], ids=["sd2", "sd1"])
@torch.inference_mode()
def test_each_row_is_what_its_merged_network_predicts(config: dict[str, Any], tmp_path: Path) -> None:
    unet = make_unet(config=config)
    denoiser = denoiser_of(unet)
    layout = LoraLayout(denoiser, 2 * RANK)  # room for more than there is
    people = [random_factors(denoiser, seed) for seed in (1, 2)]
    rows = torch.stack([layout.pack(people[0]), torch.zeros(layout.width), layout.pack(people[1])])
    got = denoiser(latents(), PLACES, changes=layout.changes(rows))
    plain = denoiser(latents(), PLACES)
    assert torch.equal(got[1], plain[1])
    for row, factors in ((0, people[0]), (2, people[1])):
        save_avatar_lora(tmp_path / "lora.safetensors", AvatarLora(FACTS, factors))
        merged = denoiser_of(with_lora(unet, tmp_path / "lora.safetensors"))
        expected = merged(latents(), PLACES)[row]
        assert (expected - plain[row]).abs().max() > 0.05
        torch.testing.assert_close(got[row], expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_loras_of_others() -> None:
    denoiser = denoiser_of(make_unet())
    layout = LoraLayout(denoiser, RANK)
    one, two, other = (layout.pack(random_factors(denoiser, seed)) for seed in (1, 2, 3))
    before = denoiser(latents(), PLACES, changes=layout.changes(torch.stack([one, two, one])))
    after = denoiser(latents(), PLACES, changes=layout.changes(torch.stack([one, other, one])))
    assert torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_gradients_reach_the_factors_as_they_reach_merged_weights() -> None:
    """The packed network's slope in a factor is that of its output by small steps."""
    denoiser = denoiser_of(make_unet().double())
    denoiser.times = denoiser.times.double()
    layout = LoraLayout(denoiser, RANK)
    factors = random_factors(denoiser, 1)
    x = latents(1).double()

    def loss() -> torch.Tensor:
        rows = layout.pack(factors)[None].double()
        out: torch.Tensor = denoiser(x, PLACES[:1], changes=layout.changes(rows)).square().mean()
        return out

    for layer, (down, up) in list(factors.items())[:6]:
        for part in (down, up):
            part.requires_grad_(True)
            loss().backward()
            slope = part.grad
            assert slope is not None
            part.requires_grad_(False)
            step = 1e-3 * slope / slope.norm()
            part += step
            high = loss()
            part -= 2 * step
            low = loss()
            part += step
            assert float((high - low) / 2e-3) == pytest.approx(float(slope.norm()), rel=2e-2), layer


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    denoiser = denoiser_of(make_unet())
    layout = LoraLayout(denoiser, RANK)
    factors = random_factors(denoiser, 1)
    layer, (down, up) = next(iter(factors.items()))
    for wrong, kind, reason in (
        ({"conv_in": (down, up)}, FormatError, "'conv_in' is no projection"),
        ({layer: (down[:, 1:], up)}, FormatError, "does not fit"),
        ({layer: (down[1:], up)}, FormatError, "does not fit"),
        (random_factors(denoiser, 1, rank=RANK + 1), InputError, r"has rank 5.*room for 4.*lora_rank: 5"),
    ):
        with pytest.raises(kind, match=reason) as caught:
            pack_checked(AvatarLora(FACTS, wrong), layout, "lora")
        assert "\n" not in str(caught.value)


def test_numbers_that_half_precision_does_not_hold_are_refused() -> None:
    denoiser = denoiser_of(make_unet())
    layout = LoraLayout(denoiser, RANK)
    large = AvatarLora(FACTS, random_factors(denoiser, 1, size=1e5))
    assert pack_checked(large, layout, "lora").isfinite().all()
    with pytest.raises(FormatError, match=r"too large for torch\.float16"):
        pack_checked(large, layout, "lora", torch.float16)
