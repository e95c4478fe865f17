"""Pretrained weights: a network trained on minutes of a donor's footage, to fine-tune on seconds of another person.

The audio encoder (the nets behind the audio token) is independent of the face: it has learned which sounds shape the
mouth alike. On seconds of footage, in which most sounds occur once or never, it is best frozen
(`freeze_audio_encoder`), or it overfits to single frames.

The rest of the network depends on the donor's face: where its mouth is, and how lips, jaw and lids move. Its triplane
is aligned with the new head by the 68 landmarks of both, so that it moves the right Gaussians from the first step on,
and motion that the footage does not show is kept from the donor. The heads for rotation, scale, opacity and colour are
not copied: they depend on the donor's Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.audio.windows import WindowSpec
from being.avatar.library import Library
from being.avatar.schema import AvatarManifest
from being.dataset.landmarks import MOUTH
from being.errors import InputError
from being.model import DeformationNetwork, NetworkConfig
from being.model.network import OFFSET_SIZES
from being.training.config import FitConfig
from being.training.data.speech import Speech
from being.training.model.eye_token import is_dead

NONE, PACKAGED = "none", "demo"
AUDIO_ENCODER = ("audio_net.", "audio_attention.", "audio_token.")  # independent of the face
# Never copied: static attributes of published avatars, the box, the footage's tokens, and the donor's Gaussians' heads.
OWN = ("trunk.", "triplane.aabb", "recorded_tokens", *(f"heads.{name}.3." for name in OFFSET_SIZES if name != "xyz"))
MOUTH_COUNTS = 4.0  # against another landmark, where two faces are laid over each other

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class PretrainedNetwork:
    """The donor's weights; `whole`: all of the network, else the audio encoder alone. `blinks`: its lids move."""

    manifest: AvatarManifest
    network: Mapping[str, Tensor]
    whole: bool
    blinks: bool = True

    @property
    def has_eye(self) -> bool:
        """Whether the eye's token is copied."""
        return self.whole and self.blinks

    def box_over(self, landmarks: NDArray[np.float64]) -> Box:
        """The box that its triplane must cover to have this head's landmarks (68, 3) where its own face has them.

        Across and up by least squares. How deep a head is cannot be seen where it hardly turns: the depth takes their
        mean scale, and the mouth its place.
        """
        theirs = np.array(self.manifest.landmarks, np.float64)
        weight = np.ones(len(theirs))
        weight[MOUTH] = MOUTH_COUNTS
        scales, shifts = np.ones(3), np.zeros(3)
        for axis in (0, 1):
            across = np.stack([landmarks[:, axis], np.ones(len(theirs))], 1) * weight[:, None]
            scales[axis], shifts[axis] = np.linalg.lstsq(across, theirs[:, axis] * weight, rcond=None)[0]
        scales[2] = scales[:2].mean()
        shifts[2] = np.median(theirs[MOUTH, 2] - scales[2] * landmarks[MOUTH, 2])
        high, low = (((np.array(corner) - shifts) / scales).tolist() for corner in self.manifest.network.aabb)
        return (high[0], high[1], high[2]), (low[0], low[1], low[2])

    def copy_into(self, network: DeformationNetwork) -> None:
        """Copy the weights into a network of the same sizes."""
        same = self.manifest.network.emotion_states == network.config.emotion_states
        own = (*OWN, *(() if same else ("emotion_",)), *(() if self.blinks else ("eye_token.",)))
        copied = {
            name: value
            for name, value in self.network.items()
            if name.startswith(AUDIO_ENCODER) or (self.whole and not name.startswith(own))
        }
        network.load_state_dict(copied, strict=False)


def audio_encoder(network: DeformationNetwork) -> list[Tensor]:
    """The parameters of the audio encoder."""
    return [parameter for name, parameter in network.named_parameters() if name.startswith(AUDIO_ENCODER)]


def load_pretrained(config: FitConfig, speech: Speech, wanted: NetworkConfig) -> PretrainedNetwork | None:
    """Weights of the donor that `config.pretrained` names (an id, a folder, or "none"); None where there are none.

    A donor with other speech features or another look-ahead does not fit: the packaged demo is then left out without a
    word. Of one whose network has other sizes than `wanted`, or that has no landmarks, only the audio encoder is taken.

    Raises
    ------
    InputError
        Where an avatar that was named by the user does not exist or does not fit.
    """
    avatar = config.pretrained
    if avatar == NONE:
        return None
    folder = Path(avatar)
    library = Library([folder.resolve().parent]) if folder.name != avatar else Library()
    manifest = library.get(folder.name).manifest
    theirs = manifest.network
    fits = (
        manifest.features == speech.spec
        and WindowSpec(look_ahead=manifest.look_ahead) == speech.windows
        and (theirs.audio_width, theirs.audio_frames, theirs.width)
        == (wanted.audio_width, wanted.audio_frames, wanted.width)
    )
    if not fits:
        if avatar == PACKAGED:
            return None
        raise InputError(
            f"avatar {avatar!r} uses {manifest.features.name} at look-ahead {manifest.look_ahead}, this run does not",
            "Give --pretrained an avatar of the same features and look-ahead, or none",
        )
    own = {name: getattr(wanted, name) for name in ("aabb", "dropout", "token_support", "emotion_states")}
    whole = config.pretrained_parts == "network"
    if whole and (manifest.landmarks is None or theirs.model_copy(update=own) != wanted):
        if avatar != PACKAGED:
            raise InputError(
                f"avatar {avatar!r} has a network of other sizes, or no landmarks",
                "Use --pretrained-parts audio_encoder",
            )
        whole = False
    network = library.load(folder.name).network
    weights = {name: value.detach() for name, value in network.state_dict().items()}
    return PretrainedNetwork(manifest, weights, whole, not is_dead(network))


def at_rest(network: DeformationNetwork) -> None:
    """Let a new network start with offsets of zero."""
    for head in network.heads.values():
        last = head[-1]  # type: ignore[index]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
