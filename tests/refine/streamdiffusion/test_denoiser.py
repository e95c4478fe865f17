"""The packed network against diffusers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", reason="needs being[refine]")
from support.tiny_diffusion import FIRST_KIND, UNET, WIDTH, make_controlnet, make_unet

from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.control import DepthControl
from being.refine.streamdiffusion.denoiser import Denoiser

TIMESTEPS = (249, 499, 999)
PROMPT = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(1))


def latents(count: int, height: int = 8, width: int = 8, seed: int = 2) -> torch.Tensor:
    return torch.randn(count, height, width, 4, generator=torch.Generator().manual_seed(seed))


def by_diffusers(unet: Any, x: torch.Tensor, timesteps: list[int], **more: Any) -> torch.Tensor:
    prompt = PROMPT[None].expand(len(x), -1, -1)
    return unet(x.permute(0, 3, 1, 2), torch.tensor(timesteps), prompt, **more).sample.permute(0, 2, 3, 1)


@pytest.mark.parametrize("config", [UNET, FIRST_KIND], ids=["sd2", "sd1"])
@pytest.mark.parametrize("size", [(8, 8), (16, 24)])
@torch.inference_mode()
def test_predicts_what_diffusers_predicts(config: dict[str, Any], size: tuple[int, int]) -> None:
    unet = make_unet(config=config)
    denoiser = Denoiser(unet, PROMPT, TIMESTEPS, twins)
    x = latents(3, *size)
    expected = by_diffusers(unet, x, [999, 249, 249])
    assert expected.std() > 0.05
    got = denoiser(x, denoiser.places([999, 249, 249]))
    torch.testing.assert_close(got, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


@torch.inference_mode()
def test_the_timestep_of_each_row_counts_and_of_no_other() -> None:
    denoiser = Denoiser(make_unet(), PROMPT, TIMESTEPS, twins)
    x = latents(2)
    same = denoiser(x, denoiser.places([249, 249]))
    other = denoiser(x, denoiser.places([249, 999]))
    assert torch.equal(same[0], other[0])
    assert (same[1] - other[1]).abs().max() > 1e-3


@torch.inference_mode()
def test_a_timestep_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(ValueError):
        Denoiser(make_unet(), PROMPT, TIMESTEPS, twins).places([250])


@torch.inference_mode()
def test_controlnet_counts_as_in_diffusers() -> None:
    unet = make_unet()
    controlnet = make_controlnet(unet)
    denoiser = Denoiser(unet, PROMPT, TIMESTEPS, twins)
    control = DepthControl(controlnet, PROMPT, torch.tensor(TIMESTEPS), 0.7)
    x, picture = latents(2), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    places = denoiser.places([249, 499])
    down, middle = controlnet(
        x.permute(0, 3, 1, 2),
        torch.tensor([249, 499]),
        PROMPT[None].expand(2, -1, -1),
        controlnet_cond=picture,
        conditioning_scale=0.7,
        return_dict=False,
    )
    expected = by_diffusers(
        unet, x, [249, 499], down_block_additional_residuals=down, mid_block_additional_residual=middle
    )
    assert (expected - by_diffusers(unet, x, [249, 499])).abs().max() > 1e-2
    got = denoiser(x, places, control(x, places, picture))
    torch.testing.assert_close(got, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)
