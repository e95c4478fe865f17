"""A LoRA of a tiny diffusion model, trained on film with detail and renders without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.tiny_diffusion import make_controlnet, save_diffusion

from being.errors import InputError
from being.progress import Silent
from being.refine.streamdiffusion.avatar_lora import AvatarLora, LoraFacts, save_avatar_lora
from being.refine.streamdiffusion.lora import with_lora
from being.refine.streamdiffusion.noise import FacePlane
from being.refine.streamdiffusion.settings import StreamDiffusionSettings
from being.training.loop import Stop
from being.training.refiner.applied import refined_pictures
from being.training.refiner.config import RefineWeights
from being.training.refiner.judging import LIPS_MAY_MOVE
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.config import LoraConfig
from being.training.refiner.lora.face_crops import FaceCropSampler, LiveFace
from being.training.refiner.lora.fit import frozen_weights
from being.training.refiner.lora.judging import AdaptedInMemory, judge_lora
from being.training.refiner.lora.loop import TrainedLora, lora_loss, train_lora
from being.training.refiner.pairs import Pairs

CPU = torch.device("cpu")
SIDE = 96
FACE = LiveFace("person", FacePlane(0.0, 8.0, (100.0, 100.0, 48.0, 48.0), (SIDE, SIDE)), (0, 0), (SIDE, SIDE))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> LoraConfig:
    folder = save_diffusion(tmp_path_factory.mktemp("diffusion"))
    refiner = StreamDiffusionSettings(
        model=str(folder), autoencoder=str(folder / "taesd"), sizes=(64,), timesteps=(249, 499), lora_rank=4
    )
    return LoraConfig(refiner=refiner, steps=20, rate=3e-2, device="cpu")


def pairs_of_noise(count: int = 6) -> Pairs:
    """Film with detail, renders without: blurred film. Boxes as large as a crop of 64 holds."""
    random = torch.Generator().manual_seed(0)
    film = torch.nn.functional.interpolate(torch.rand(count, 3, 24, 24, generator=random), size=(SIDE, SIDE))
    soft = torch.nn.functional.avg_pool2d(film, 5, stride=1, padding=2, count_include_pad=False)
    bytes_of = [(255 * part.permute(0, 2, 3, 1)).round().to(torch.uint8) for part in (soft, film)]
    return Pairs(
        frames=torch.tensor([0, 1, 2, 3, 7, 8]),
        renders=bytes_of[0],
        truth=bytes_of[1],
        alpha=torch.full((count, SIDE, SIDE), 255, dtype=torch.uint8),
        plate=torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8),
        windows=torch.tensor([[16, 16, 80, 80]] * count),
        boxes=torch.tensor([[26.0, 26, 70, 70]] * count),
        lips=torch.tensor([[38.0, 50, 58, 62]] * count),
        seen=torch.ones(count, dtype=torch.bool),
        avatars=torch.zeros(count, dtype=torch.long),
        head_poses=torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 8]]).repeat(count, 1, 1),
        depth=torch.full((count, SIDE, SIDE), 8.0, dtype=torch.float16),
        camera=(100.0, 100.0, SIDE / 2, SIDE / 2),
    )


def adapter_of(config: LoraConfig) -> Adapter:
    return Adapter(frozen_weights(config, CPU)[0], config.refiner, FACE.seed, config.seed)


def sampler_of(config: LoraConfig, seed: int | None = None) -> FaceCropSampler:
    seed = config.seed if seed is None else seed
    return FaceCropSampler(pairs_of_noise(), FACE, config.refiner.sizes, len(config.refiner.timesteps), seed)


def trained(config: LoraConfig, adapter: Adapter, **changes: Any) -> TrainedLora:
    changed = config.model_copy(update=changes)
    return train_lora(adapter, sampler_of(changed), changed, None, Silent(), Stop())


def loss_of(config: LoraConfig, adapter: Adapter) -> dict[str, float]:
    with torch.no_grad():
        parts = lora_loss(adapter, sampler_of(config, seed=5).draw(8), config.weights, config.latent, None)
    return {name: float(part) for name, part in parts.items()}


@pytest.fixture(scope="module")
def learned(config: LoraConfig) -> tuple[Adapter, TrainedLora]:
    adapter = adapter_of(config)
    return adapter, trained(config, adapter)


def test_crops_are_the_live_ones_in_pairs_of_neighbours(config: LoraConfig) -> None:
    drawn = sampler_of(config).draw(32)
    assert drawn.crops.render.shape == (64, 3, 64, 64) and drawn.told.shape[0] == 64
    first, second = drawn.crops.truth.chunk(2)
    assert torch.equal((first - second).abs().amax((1, 2, 3)) > 0, drawn.crops.follows)
    assert drawn.masks[:, 0, 32, 32].eq(1).all() and drawn.masks[:, 0, 0, 0].eq(0).all()


L1_ALONE = RefineWeights(l1=1.0, ssim=0.0, bands=0.0, steady=0.0)


@pytest.mark.parametrize(
    ("part", "loss", "latent", "share"),
    [("l1", L1_ALONE, 0.0, 0.97), ("latent", L1_ALONE.model_copy(update={"l1": 0.0}), 1.0, 0.75)],
)
def test_training_lowers_the_loss_of_the_picture_and_of_the_latents(
    config: LoraConfig, part: str, loss: RefineWeights, latent: float, share: float
) -> None:
    """Each by itself: that of the picture through the decoder, which is of random numbers and cannot draw much."""
    config = config.model_copy(update={"loss": loss, "latent": latent})
    adapter = adapter_of(config)
    before = loss_of(config, adapter)[part]
    trained(config, adapter)
    assert loss_of(config, adapter)[part] < share * before


def test_all_of_the_attention_learns_and_nothing_else(config: LoraConfig, learned: tuple[Adapter, TrainedLora]) -> None:
    adapter, result = learned
    assert result.steps == 20 and not result.stopped and len(result.history) == 2
    assert set(loss_of(config, adapter)) == {"l1", "ssim", "bands", "steady", "latent"}
    assert all("attn" in layer for layer in result.factors)
    same = {layer for layer, (_, up) in result.factors.items() if not up.any()}
    attention = "mid_block.attentions.0.transformer_blocks.0.attn1"  # of one token, whatever query and key are
    assert same == {f"{attention}.to_q", f"{attention}.to_k"}
    assert {name.split(".")[0] for name, _ in adapter.named_parameters()} == {"down", "up"}
    assert not any(parameter.requires_grad for parameter in frozen_weights(config, CPU)[0].unet.parameters())


def test_an_untrained_one_changes_nothing(config: LoraConfig) -> None:
    adapter, drawn = adapter_of(config), sampler_of(config).draw(1)
    with torch.no_grad():
        own, plain = (adapter(drawn.crops.render, drawn.told, adapted=adapted)[0] for adapted in (True, False))
    assert torch.equal(own, plain)


def test_the_same_seed_trains_the_same(config: LoraConfig) -> None:
    one, two, other = (trained(config, adapter_of(config), steps=3, seed=seed) for seed in (0, 0, 1))
    for layer, (down, up) in one.factors.items():
        assert torch.equal(down, two.factors[layer][0]) and torch.equal(up, two.factors[layer][1])
    assert any(not torch.equal(up, other.factors[layer][1]) for layer, (_, up) in one.factors.items())


def test_what_was_trained_is_what_merged_weights_do(
    config: LoraConfig, learned: tuple[Adapter, TrainedLora], tmp_path: Path
) -> None:
    adapter, result = learned
    weights, base = frozen_weights(config, CPU)
    save_avatar_lora(tmp_path / "lora.safetensors", AvatarLora(LoraFacts(rank=4, base=base), result.factors))
    weights.unet = with_lora(weights.unet, tmp_path / "lora.safetensors")
    drawn = sampler_of(config).draw(2)
    merged = Adapter(weights, config.refiner, FACE.seed, 0)
    with torch.no_grad():
        own = adapter(drawn.crops.render, drawn.told)[0]
        expected = merged(drawn.crops.render, drawn.told, adapted=False)[0]
        plain = adapter(drawn.crops.render, drawn.told, adapted=False)[0]
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=0)
    assert (own - plain).abs().max() > 1e-2


def test_depth_counts_and_gradients_pass_where_there_is_a_controlnet(config: LoraConfig, tmp_path: Path) -> None:
    weights, _ = frozen_weights(config, CPU)
    make_controlnet(weights.unet).save_pretrained(tmp_path / "depth")
    options = config.refiner.model_copy(update={"controlnet": str(tmp_path / "depth"), "control_scale": 1.0})
    own = config.model_copy(update={"refiner": options})
    adapter = Adapter(frozen_weights(own, CPU)[0], options, FACE.seed, 0)
    drawn = sampler_of(config).draw(1)
    near, far = (adapter(drawn.crops.render, drawn.told, drawn.depth + more)[0] for more in (0, 0.5))
    assert (near - far).abs().max() > 1e-3
    near.sum().backward()
    assert any(bool(up.grad is not None and up.grad.any()) for up in adapter.up)


def test_it_can_be_stopped(config: LoraConfig) -> None:
    stop = Stop()
    stop.wanted = True
    assert train_lora(adapter_of(config), sampler_of(config), config, None, Silent(), stop).stopped


def test_numbers_out_of_range_are_told(config: LoraConfig) -> None:
    adapter = adapter_of(config)
    with torch.no_grad():
        adapter.up[0].fill_(torch.nan)
    with pytest.raises(InputError, match="not finite") as caught:
        trained(config, adapter, steps=2)
    assert "--rate" in caught.value.remedy


def test_a_discriminator_is_refused() -> None:
    with pytest.raises(ValueError, match="no discriminator"):
        LoraConfig(loss=RefineWeights(adversarial=0.1))


def test_one_that_is_nearer_to_the_film_than_its_model_is_kept(
    config: LoraConfig, learned: tuple[Adapter, TrainedLora]
) -> None:
    judged = judge_lora(pairs_of_noise(), learned[0], FACE, config.refiner.sizes, 0.0)
    assert judged.alone is not None and judged.harmless
    assert judged.refined["psnr"] > judged.alone.scores["psnr"]
    assert judged.refined["lip_shift_px"] <= LIPS_MAY_MOVE
    assert judged.strength < 1  # of a decoder of random numbers lips do not stay
    assert judged.metrics()["alone_psnr"] == pytest.approx(judged.alone.scores["psnr"], abs=1e-4)


def test_one_that_is_worse_than_its_model_is_not_kept(config: LoraConfig) -> None:
    adapter = adapter_of(config)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for up in adapter.up:
            up.copy_(torch.randn(up.shape, generator=random))
    pairs, sizes = pairs_of_noise(), config.refiner.sizes
    film = refined_pictures(pairs, AdaptedInMemory(adapter, FACE, sizes, adapted=False), 1.0)
    assert not judge_lora(replace(pairs, truth=film), adapter, FACE, sizes, 0.0).harmless
