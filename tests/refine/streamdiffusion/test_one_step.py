"""One step, by ours, by StreamDiffusion's and by diffusers' own pipeline arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="needs being[refine]")
from support.tiny_diffusion import WIDTH, make_autoencoder, make_unet

from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.autoencoder import Autoencoder
from being.refine.streamdiffusion.denoiser import Denoiser
from being.refine.streamdiffusion.one_step import OneStep
from being.refine.streamdiffusion.package_step import PackageStep, installed
from being.refine.streamdiffusion.schedule import signal_shares

CPU = torch.device("cpu")
CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon"}
TIMESTEPS = (249, 499, 999)
RANDOM = torch.Generator().manual_seed(0)
CROPS = torch.rand(3, 3, 64, 64, generator=RANDOM)
NOISE = torch.randn(3, 8, 8, 4, generator=RANDOM)
PROMPT = torch.randn(16, WIDTH, generator=RANDOM)


def parts() -> tuple[Autoencoder, Denoiser]:
    return Autoencoder(make_autoencoder(), twins), Denoiser(make_unet(), PROMPT, TIMESTEPS, twins)


def one_step(velocity: bool = False) -> OneStep:
    autoencoder, denoiser = parts()
    shares = signal_shares(CONFIG)[list(TIMESTEPS)]
    return OneStep(autoencoder, lambda x, places, _: denoiser(x, places), shares, CPU, velocity)


@torch.inference_mode()
def test_equals_an_euler_step_of_diffusers() -> None:
    step = one_step()
    latents = step.autoencoder.encode(CROPS)
    scheduler = diffusers.EulerDiscreteScheduler(**CONFIG, timestep_spacing="trailing")
    scheduler.set_timesteps(2)
    at = scheduler.timesteps[1]  # strength 0.5 of two steps
    assert int(at) == 499
    noisy = scheduler.add_noise(latents, NOISE, at.expand(3))
    unet = make_unet()
    scheduler.set_begin_index(1)
    predicted = unet(
        scheduler.scale_model_input(noisy, at).permute(0, 3, 1, 2), at, PROMPT[None].expand(3, -1, -1)
    ).sample.permute(0, 2, 3, 1)
    scheduler._step_index = 1
    expected = scheduler.step(predicted, at, noisy).prev_sample
    got = step.denoised(latents, NOISE, torch.tensor([1, 1, 1]))
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_network_that_predicts_velocity_is_understood() -> None:
    """v is sqrt(a) noise - sqrt(1 - a) x_0: a network that knows both gives x_0 back."""
    shares = signal_shares(CONFIG)[list(TIMESTEPS)]
    latents, places = torch.randn(3, 8, 8, 4, generator=RANDOM), torch.tensor([0, 1, 2])
    signal, spread = (
        torch.tensor(np.sqrt(part), dtype=torch.float32)[places][:, None, None, None] for part in (shares, 1 - shares)
    )
    v = signal * NOISE - spread * latents
    step = OneStep(parts()[0], lambda x, places, _: v, shares, CPU, velocity=True)
    torch.testing.assert_close(step.denoised(latents, NOISE, places), latents, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not installed(), reason="needs pip install --no-deps streamdiffusion==0.1.1")
@pytest.mark.parametrize("timestep", TIMESTEPS)
@torch.inference_mode()
def test_equals_the_step_of_the_package(timestep: int) -> None:
    direct = one_step()
    place = torch.full((3,), TIMESTEPS.index(timestep))
    package = PackageStep(direct.autoencoder, direct.predict, CONFIG, timestep, 3, 64, CPU, torch.float32)
    expected = direct(CROPS, NOISE, place)
    first = package(CROPS, NOISE, place)
    torch.testing.assert_close(first, expected, atol=1e-5, rtol=1e-4)
    package(CROPS.flip(0), NOISE.flip(0), place)
    assert torch.equal(package(CROPS, NOISE, place), first), "something went from call to call"


@pytest.mark.skipif(not installed(), reason="needs pip install --no-deps streamdiffusion==0.1.1")
@torch.inference_mode()
def test_rows_have_noise_of_their_own_in_the_package_too() -> None:
    direct = one_step()
    package = PackageStep(direct.autoencoder, direct.predict, CONFIG, 499, 3, 64, CPU, torch.float32)
    place = torch.ones(3, dtype=torch.long)
    one = package(CROPS, NOISE, place)
    changed = NOISE.clone()
    changed[1] *= -1
    two = package(CROPS, changed, place)
    assert torch.equal(one[0], two[0]) and torch.equal(one[2], two[2]) and not torch.equal(one[1], two[1])
