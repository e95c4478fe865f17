"""A tiny Stable Diffusion of random numbers in the real one's layout, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WIDTH = 32  # of the text encoder

UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32, 32, 32),
    "layers_per_block": 2,
    "attention_head_dim": [2, 4, 4, 4],
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
FIRST_KIND: dict[str, Any] = {**UNET, "use_linear_projection": False, "attention_head_dim": 4}  # SD 1
TINY_AUTOENCODER: dict[str, Any] = {
    "encoder_block_out_channels": (16, 16, 16, 16),
    "decoder_block_out_channels": (16, 16, 16, 16),
    "num_encoder_blocks": (1, 1, 1, 1),
    "num_decoder_blocks": (1, 1, 1, 1),
}


def make_unet(seed: int = 0, config: dict[str, Any] = UNET) -> Any:
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**config).eval().requires_grad_(False)
        for name, parameter in unet.named_parameters():  # norms and biases that are not 1 and 0
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "conv_in" not in name:
                parameter.mul_(1.5)
    return unet


def make_autoencoder(seed: int = 0) -> Any:
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        autoencoder = AutoencoderTiny(**TINY_AUTOENCODER).eval().requires_grad_(False)
        for parameter in autoencoder.parameters():
            parameter.mul_(1.5)
    return autoencoder


def make_controlnet(unet: Any, seed: int = 0) -> Any:
    from diffusers import ControlNetModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
        for module in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            torch.nn.init.normal_(module.weight, std=0.2)
        for module in controlnet.controlnet_cond_embedding.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.weight, std=0.3)
    return controlnet.eval().requires_grad_(False)


def save_diffusion(folder: Path, seed: int = 0) -> Path:
    """A pipeline of diffusers without its autoencoder; TAESD beside it in `taesd`."""
    from transformers import CLIPTextConfig, CLIPTextModel

    make_unet(seed).save_pretrained(folder / "unet")
    make_autoencoder(seed).save_pretrained(folder / "taesd")
    pipeline = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(pipeline))
    scheduler = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
    }
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (tokenizer / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": words[0], "eos_token": words[1], "unk_token": words[1], "pad_token": words[1]}
    (tokenizer / "special_tokens_map.json").write_text(json.dumps(special))
    kind = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16, **special}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(kind))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
        CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    return folder
