"""A trained ear to start with: what tells speech sounds apart is learned from minutes, not from seconds.

The nets behind the audio token know nothing of a face. An avatar trained on long footage has found in them which sounds
shape the mouth alike; footage of seconds, in which most sounds occur once or never, starts from there and only has to
learn what its own person's mouth does. There the ear is best left as it was lent (`keep_ear`): it would learn to tell
the frames of the footage apart.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from being.audio.windows import WindowSpec
from being.avatar.library import Library
from being.errors import InputError
from being.model import DeformationNetwork
from being.training.speech import Speech

NONE = "none"
EAR = ("audio_net.", "audio_attention.", "audio_token.")  # parts of the network that hear and know no face


def ear(network: DeformationNetwork) -> list[Tensor]:
    """The parameters that hear."""
    return [parameter for name, parameter in network.named_parameters() if name.startswith(EAR)]


def listen_like(network: DeformationNetwork, speech: Speech, avatar: str) -> bool:
    """Copy the ear of `avatar` (an id, a folder, or "none") into the network. False where none was copied.

    An avatar that hears other features, or with another look-ahead, cannot lend its ear: the packaged demo is then left
    out without a word.

    Raises
    ------
    InputError
        Where an avatar that was named by the user does not exist or cannot lend its ear.
    """
    if avatar == NONE:
        return False
    folder = Path(avatar)
    library = Library([folder.resolve().parent]) if folder.name != avatar else Library()
    manifest = library.get(folder.name).manifest
    config = network.config
    fits = (
        manifest.features == speech.spec
        and WindowSpec(look_ahead=manifest.look_ahead) == speech.windows
        and (manifest.network.audio_width, manifest.network.audio_frames, manifest.network.width)
        == (config.audio_width, config.audio_frames, config.width)
    )
    if not fits:
        if avatar == "demo":
            return False
        raise InputError(
            f"avatar {avatar!r} hears {manifest.features.name} at look-ahead {manifest.look_ahead}, this run does not",
            "Give --audio-prior an avatar of the same features and look-ahead, or none",
        )
    lent = library.load(folder.name).network.state_dict()
    heard = {name: value for name, value in lent.items() if name.startswith(EAR)}
    network.load_state_dict(heard, strict=False)
    return True
