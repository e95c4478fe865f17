"""What an avatar that a server plays may name: nothing outside its own folder, whoever made it.

An avatar's features have parameters, and some of them are paths or names of models to download. Offline that is the
user's own choice; a server would open them on behalf of whoever wrote the avatar.
"""

from __future__ import annotations

from typing import Any

from being.audio.features import FeatureSpec
from being.errors import FormatError

# Features that need nothing but the package, and the numbers a stranger may set: name -> parameter -> (least, most).
SERVED_FEATURES: dict[str, dict[str, tuple[float, float]]] = {
    "logmel": {"width": (1, 512)},
    "phones": {},
    "wav2vec2": {"left_s": (0.0, 10.0), "block_s": (0.02, 10.0), "right_s": (0.0, 10.0)},
}


def check_serving_policy(features: FeatureSpec, where: str) -> None:
    """Refuse features that read files, fetch models, or have parameters out of bounds.

    Raises
    ------
    FormatError
        Naming the feature or the parameter. `where` is the avatar's manifest.
    """
    allowed = SERVED_FEATURES.get(features.name)
    if allowed is None:
        raise FormatError(
            f"{where}: features {features.name!r} come from a file and are not played by a server",
            f"Render it offline with being render, or train it on one of: {', '.join(SERVED_FEATURES)}",
        )
    for name, value in features.params.items():
        if name not in allowed:
            raise FormatError(
                f"{where}: features.params.{name} = {value!r} would make the server open something outside the avatar",
                "Render it offline with being render, or train it without this parameter",
            )
        least, most = allowed[name]
        if not _is_number(value) or not least <= value <= most:
            raise FormatError(f"{where}: features.params.{name} = {value!r} does not lie in {least:g}..{most:g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
