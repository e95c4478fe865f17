"""A trained network to start with: what faces do to speech sounds is learned from minutes, not from seconds.

The nets behind the audio token (the ear) know nothing of a face. An avatar trained on long footage has found in them
which sounds shape the mouth alike. There the ear is best left as it was lent (`keep_ear`): footage of seconds, in which
most sounds occur once or never, would teach it to tell its frames apart.

The rest of the network knows one face: where its mouth is, and how lips, jaw and lids go. Laid over another head by the
68 landmarks of both, it moves that head's mouth in the right place and roughly the right way from the first step on,
and what the footage does not show stays as it was lent. How its Gaussians turn, stretch and change their colour is not
lent: another face's Gaussians lie otherwise.
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
from being.errors import InputError
from being.model import DeformationNetwork, NetworkConfig
from being.model.network import OFFSET_SIZES
from being.training.config import FitConfig
from being.training.data.footage import MOUTH
from being.training.data.speech import Speech

NONE, PACKAGED = "none", "demo"
EAR = ("audio_net.", "audio_attention.", "audio_token.")  # parts of the network that hear and know no face
# What is not lent: static attributes of published avatars, the place, the footage, and what only its Gaussians need.
OWN = ("trunk.", "triplane.aabb", "recorded_tokens", *(f"heads.{name}.3." for name in OFFSET_SIZES if name != "xyz"))
MOUTH_COUNTS = 4.0  # against another landmark, where two faces are laid over each other

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Lender:
    """An avatar that lends its network, and whether all of it or the ear alone."""

    manifest: AvatarManifest
    network: Mapping[str, Tensor]
    whole: bool

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

    def lend(self, network: DeformationNetwork) -> None:
        """Copy what is lent into a network of the same sizes."""
        same = self.manifest.network.emotion_states == network.config.emotion_states
        own = OWN if same else (*OWN, "emotion_")
        heard = {
            name: value
            for name, value in self.network.items()
            if name.startswith(EAR) or (self.whole and not name.startswith(own))
        }
        network.load_state_dict(heard, strict=False)


def ear(network: DeformationNetwork) -> list[Tensor]:
    """The parameters that hear."""
    return [parameter for name, parameter in network.named_parameters() if name.startswith(EAR)]


def lender_of(config: FitConfig, speech: Speech, wanted: NetworkConfig) -> Lender | None:
    """The avatar that `config.prior` names (an id, a folder, or "none"); None where nobody lends.

    An avatar that hears other features, or with another look-ahead, cannot lend: the packaged demo is then left out
    without a word. One whose network has other sizes than `wanted`, or that does not know where its face is, lends its
    ear only.

    Raises
    ------
    InputError
        Where an avatar that was named by the user does not exist or cannot lend what was asked for.
    """
    avatar = config.prior
    if avatar == NONE:
        return None
    folder = Path(avatar)
    library = Library([folder.resolve().parent]) if folder.name != avatar else Library()
    manifest = library.get(folder.name).manifest
    theirs = manifest.network
    hears = (
        manifest.features == speech.spec
        and WindowSpec(look_ahead=manifest.look_ahead) == speech.windows
        and (theirs.audio_width, theirs.audio_frames, theirs.width)
        == (wanted.audio_width, wanted.audio_frames, wanted.width)
    )
    if not hears:
        if avatar == PACKAGED:
            return None
        raise InputError(
            f"avatar {avatar!r} hears {manifest.features.name} at look-ahead {manifest.look_ahead}, this run does not",
            "Give --prior an avatar of the same features and look-ahead, or none",
        )
    own = {name: getattr(wanted, name) for name in ("aabb", "dropout", "keep_to_heard", "emotion_states")}
    whole = config.prior_parts == "network"
    if whole and (manifest.landmarks is None or theirs.model_copy(update=own) != wanted):
        if avatar != PACKAGED:
            raise InputError(
                f"avatar {avatar!r} cannot lend its whole network: it has other sizes, or its face is not known",
                "Use --prior-parts ear",
            )
        whole = False
    lent = library.load(folder.name).network.state_dict()
    return Lender(manifest, {name: value.detach() for name, value in lent.items()}, whole)


def at_rest(network: DeformationNetwork) -> None:
    """Let a new network start with offsets of zero."""
    for head in network.heads.values():
        last = head[-1]  # type: ignore[index]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
