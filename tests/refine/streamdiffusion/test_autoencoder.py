"""The flattened TAESD against diffusers'."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers", reason="needs being[refine]")
from support.tiny_diffusion import make_autoencoder

from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.autoencoder import Autoencoder

PICTURES = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_encodes_as_diffusers_does() -> None:
    vae = make_autoencoder()
    expected = vae.encode(PICTURES * 2 - 1).latents.permute(0, 2, 3, 1)
    got = Autoencoder(vae, twins).encode(PICTURES)
    assert got.shape == (2, 8, 16, 4) and expected.std() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_decodes_as_diffusers_does() -> None:
    vae = make_autoencoder()
    latents = 3 * torch.randn(2, 8, 16, 4, generator=torch.Generator().manual_seed(1))
    expected = vae.decode(latents.permute(0, 3, 1, 2)).sample / 2 + 0.5
    got = Autoencoder(vae, twins).decode(latents)
    assert got.shape == (2, 3, 64, 128) and expected.std() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_latents_are_scaled_and_back() -> None:
    vae = make_autoencoder()
    plain = Autoencoder(vae, twins)
    vae.register_to_config(scaling_factor=0.5)
    halved = Autoencoder(vae, twins)
    torch.testing.assert_close(halved.encode(PICTURES), plain.encode(PICTURES) / 2)
    torch.testing.assert_close(halved.decode(halved.encode(PICTURES)), plain.decode(plain.encode(PICTURES)))
