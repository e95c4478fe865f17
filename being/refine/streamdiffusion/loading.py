"""Weights of a diffusion model: found in a folder or on the Hugging Face hub, hashed, read without pickles."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from being.errors import FormatError, InputError, MissingDependencyError
from being.refine.streamdiffusion.settings import RANDOM, StreamDiffusionSettings

log = logging.getLogger(__name__)

UNET_WEIGHTS = "diffusion_pytorch_model"
TEXT_WEIGHTS = "model"
TURBO_UNET: dict[str, Any] = {  # SD-turbo's, which is SD 2.1's
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
TURBO_SCHEDULER: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
PROMPT_TOKENS = 77
ANSWER_S = 5.0  # of the hub
SAMPLED = 4096  # numbers of each tensor that its fingerprint looks at


@dataclass(eq=False)
class Weights:
    """A diffusion model in memory.

    Attributes
    ----------
    unet, autoencoder, controlnet : diffusers' modules. controlnet : or None.
    prompt : (T, D) embeddings.
    scheduler : scheduler_config.json.
    hashes : SHA-256 of each file of weights, by part. fingerprints : see `fingerprint_of`, by part.
    """

    unet: Any
    autoencoder: Any
    prompt: Tensor
    scheduler: Mapping[str, Any]
    controlnet: Any = None
    hashes: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)


def load_weights(settings: StreamDiffusionSettings, device: torch.device, dtype: torch.dtype) -> Weights:
    """All that settings name, on a device.

    Raises
    ------
    MissingDependencyError
        diffusers or transformers is not installed.
    InputError
        A file that is neither there nor to be had; the remedy is the command that gets it.
    FormatError
        A file that is damaged, of another shape than its configuration, or has another hash than it must have.
    """
    if settings.model == RANDOM:
        return random_weights(device, dtype)
    diffusers = _diffusers()
    source = _Source(settings.model, settings.revision, settings.local_files_only)
    hashes: dict[str, str] = {}
    fingerprints: dict[str, str] = {}

    def model(kind: Any, source: _Source, folder: str, part: str) -> Any:
        path = source.weights(folder, UNET_WEIGHTS, dtype)
        hashes[part] = _checked_hash(path, settings.sha256.get(part))  # type: ignore[call-overload]
        config = _json(source.file(_inside(folder, "config.json")))
        filled, fingerprints[part] = _filled(lambda: kind.from_config(config), path, dtype)
        return filled.to(device)

    unet = model(diffusers.UNet2DConditionModel, source, "unet", "unet")
    _check_unet(unet.config, settings.model)
    scheduler = _json(source.file("scheduler/scheduler_config.json"))
    own = _Source(settings.autoencoder, None, settings.local_files_only)
    autoencoder = model(diffusers.AutoencoderTiny, own, "", "autoencoder")
    controlnet = None
    if settings.controlnet is not None:
        control = _Source(settings.controlnet, None, settings.local_files_only)
        controlnet = model(diffusers.ControlNetModel, control, "", "controlnet")
    text = source.weights("text_encoder", TEXT_WEIGHTS, dtype)
    hashes["text_encoder"] = _checked_hash(text, settings.sha256.get("text_encoder"))
    prompt = _encoded(settings.prompt, source, text).to(device, dtype)
    if prompt.shape[1] != unet.config.cross_attention_dim:
        raise FormatError(
            f"text_encoder is {prompt.shape[1]} wide, unet expects {unet.config.cross_attention_dim}",
            "Take both from one model",
        )
    for part, digest in hashes.items():
        log.info("%s: SHA-256 %s", part, digest)
    return Weights(unet, autoencoder, prompt, scheduler, controlnet, hashes, fingerprints)


def random_weights(device: torch.device, dtype: torch.dtype, unet: Mapping[str, Any] | None = None) -> Weights:
    """A model of random numbers, as large as SD-turbo with TAESD unless told otherwise: as fast, but blind."""
    diffusers = _diffusers()
    log.warning("random weights: for measuring only, faces become noise")
    config = dict(unet or TURBO_UNET)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with torch.device(device):
            network = diffusers.UNet2DConditionModel(**config).to(dtype).eval()
            autoencoder = diffusers.AutoencoderTiny().to(dtype).eval()
        prompt = torch.randn(PROMPT_TOKENS, config["cross_attention_dim"]).to(device, dtype)
    parts = {"unet": network, "autoencoder": autoencoder}
    fingerprints = {part: fingerprint_of(module.state_dict()) for part, module in parts.items()}
    return Weights(network, autoencoder, prompt, TURBO_SCHEDULER, fingerprints=fingerprints)


def fingerprint_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and up to 4,096 evenly spaced numbers of each tensor in half precision.

    A file in half precision and one in single precision of the same weights have the same, and reading it takes
    milliseconds; what was trained further has another.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        flat = tensors[name].detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLED)][:SAMPLED]
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(some.to("cpu", torch.float16).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Source:
    """A folder, or a repository on the hub."""

    name: str
    revision: str | None
    local_files_only: bool

    def file(self, name: str) -> Path:
        """A file of it; InputError where it cannot be had."""
        found = self._find(name)
        if found is None:
            raise InputError(f"{name} of {self.name!r} is missing", self._remedy())
        return found

    def weights(self, folder: str, stem: str, dtype: torch.dtype) -> Path:
        """The safetensors of a part; of half the size where that is enough and there."""
        names = [f"{stem}.safetensors"]
        names.insert(0 if dtype == torch.float16 else 1, f"{stem}.fp16.safetensors")
        inside = [_inside(folder, name) for name in names]
        for ask in (False, True):  # the hub is not asked for one while the cache holds the other
            for name in inside:
                if (found := self._find(name, ask)) is not None:
                    return found
        raise InputError(f"{_inside(folder, names[-1])} of {self.name!r} is missing", self._remedy())

    def _find(self, name: str, ask: bool = True) -> Path | None:
        """A file of the folder, of the hub's cache, or, where it may be asked, of the hub; None where there is none."""
        folder = Path(self.name)
        if folder.is_dir():
            return folder / name if (folder / name).is_file() else None
        if folder.is_absolute() or self.name.startswith("."):
            raise InputError(f"there is no folder {self.name!r}", "Give a folder, or a name on the Hugging Face hub")
        try:
            from huggingface_hub import hf_hub_download, try_to_load_from_cache
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
        except ImportError as error:
            raise MissingDependencyError("huggingface-hub", "refine", "A model on the Hugging Face hub") from error
        try:
            cached = try_to_load_from_cache(self.name, name, revision=self.revision)
            if isinstance(cached, str):
                return Path(cached)
            if cached is not None or self.local_files_only or not ask:  # known not to exist, or not to be asked for
                return None
            self._reach(name)
            return Path(hf_hub_download(self.name, name, revision=self.revision))
        except LocalEntryNotFoundError as error:  # the network went meanwhile
            raise InputError(f"{self.name!r} cannot be reached ({_first_line(error)})", self._remedy()) from error
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:  # no such repository, no permission, not a name
            raise InputError(f"{self.name!r} cannot be had ({_first_line(error)})", self._remedy()) from error

    def _reach(self, name: str) -> None:
        """Ask the hub for a file once; a download without network tries for half a minute and says so in lines."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        try:
            get_hf_file_metadata(hf_hub_url(self.name, name, revision=self.revision), timeout=ANSWER_S)
        except Exception as error:  # the HTTP client's own, another in each version of huggingface_hub
            if isinstance(error, OSError | ValueError) and not isinstance(error, ConnectionError):
                return  # the hub has answered, and the download tells in full what is wrong
            raise InputError(f"{self.name!r} cannot be reached ({_first_line(error)})", self._remedy()) from error

    def _remedy(self) -> str:
        if Path(self.name).is_dir():
            return "Save the whole model there, in diffusers' layout and as safetensors"
        return f"On a machine with network: hf download {self.name}; or give a folder as model"


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise MissingDependencyError("diffusers", "refine", "The refiner streamdiffusion") from error
    return diffusers


def _filled(build: Callable[[], nn.Module], path: Path, dtype: torch.dtype) -> tuple[nn.Module, str]:
    """A module with a file's numbers, without drawing random ones first; their fingerprint."""
    try:
        tensors = load_file(path)
        fingerprint = fingerprint_of(tensors)
        with torch.device("meta"):
            module = build()
        module.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, OSError) as error:
        raise FormatError(f"{path}: {_first_line(error)}", "Download it again; it must fit its config.json") from error
    return module.eval().requires_grad_(False), fingerprint


def _encoded(prompt: str, source: _Source, weights: Path) -> Tensor:
    """(T, D) embeddings of a prompt; tokenizer and text encoder are let go."""
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise MissingDependencyError("transformers", "refine", "The refiner streamdiffusion") from error
    transformers_logging.disable_progress_bar()  # a second's bar in a server's log
    source.file("text_encoder/config.json")
    for name in ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"):
        source.file(f"tokenizer/{name}")
    folder = source.file("tokenizer/vocab.json").parent
    variant = "fp16" if weights.name.endswith(".fp16.safetensors") else None
    try:
        tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        encoder: Any = CLIPTextModel.from_pretrained(
            weights.parent, local_files_only=True, use_safetensors=True, variant=variant
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise FormatError(f"{weights.parent}: {_first_line(error)}", "Download the model again") from error
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=encoder.config.max_position_embeddings,
        truncation=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        embedded: Tensor = encoder.float().eval()(tokens.input_ids)[0][0]
    return embedded


def _check_unet(config: Mapping[str, Any], name: str) -> None:
    """FormatError for a network that `Denoiser` does not lay out."""
    depths = config.get("transformer_layers_per_block", 1)
    plain = depths == 1 or all(depth == 1 for depth in (depths if isinstance(depths, list | tuple) else [depths]))
    embedded = config.get("class_embed_type") or config.get("addition_embed_type") or config.get("encoder_hid_dim")
    if not plain or embedded or config.get("in_channels") != 4 or config.get("time_cond_proj_dim"):
        raise FormatError(f"unet of {name!r} is of another kind than Stable Diffusion 1 and 2", "Take SD-turbo")


def _checked_hash(path: Path, expected: str | None) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise FormatError(f"{path}: SHA-256 is {digest}, expected {expected}", "Download it again, or correct sha256")
    return digest


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: {_first_line(error)}", "Download it again") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected an object", "Download it again")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
