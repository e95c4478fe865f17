"""SegFormer face parsing from transformers: better hair than the built-in parser where its weights are at hand."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO
from being.errors import InputError, MissingDependencyError

DEFAULT_WEIGHTS = "jonathandinu/face-parsing"  # SegFormer trained on CelebAMask-HQ
INPUT_SIZE = 512  # pixels a side the network was trained at
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB, as SegFormer is trained

# Class names of CelebAMask-HQ and its relatives -> whose pixel it is. A name that is not here belongs to the head.
LABEL_OF_NAME = {
    "background": BACKGROUND,
    "bg": BACKGROUND,
    "neck": NECK,
    "neck_l": NECK,  # a necklace
    "necklace": NECK,
    "cloth": TORSO,
    "clothes": TORSO,
    "clothing": TORSO,
    "body": TORSO,
    "torso": TORSO,
}


class SegformerParser:
    """A `being.capture.parsing.parser.Parser` by a SegformerForSemanticSegmentation.

    Parameters
    ----------
    weights : a folder with config.json and the weights, or a name on the hub.

    Raises
    ------
    MissingDependencyError without transformers; InputError where the weights cannot be loaded or know no neck or cloth.
    """

    def __init__(self, weights: str = DEFAULT_WEIGHTS) -> None:
        try:
            import torch
            from transformers import SegformerForSemanticSegmentation
        except ImportError as error:
            raise MissingDependencyError("transformers", "speech", "The parser segformer") from error
        try:
            model: Any = SegformerForSemanticSegmentation.from_pretrained(weights)
        except Exception as error:  # a missing file, no network, a damaged archive: all mean the same to the user
            raise InputError(
                f"the SegFormer weights {weights!r} cannot be loaded ({type(error).__name__})",
                "Give a folder that holds them: --parser segformer:FOLDER; or use --parser builtin",
            ) from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.eval().to(self._device)
        self._groups = class_groups(model.config.id2label)
        self._lock = threading.Lock()  # one picture at a time: the network fills the cores by itself

    def learn(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """Nothing to learn; the labels (h, w) of the images."""
        return [self.shares(image, face).argmax(-1).astype(np.uint8) for image, face in zip(images, faces, strict=True)]

    def shares(self, image: NDArray[np.uint8], face: Any, index: int = 0) -> NDArray[np.float32]:
        """Shares (h, w, 4) of background, head, neck and torso at `face.shape`."""
        import torch
        from torch.nn.functional import interpolate

        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(self._device).float() / 255
        pixels = interpolate(pixels, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False)
        pixels = (pixels - pixels.new_tensor(MEAN)[:, None, None]) / pixels.new_tensor(DEVIATION)[:, None, None]
        with self._lock, torch.inference_mode():
            logits = self._model(pixel_values=pixels).logits
        likely = interpolate(logits, face.shape, mode="bilinear", align_corners=False).softmax(1)[0]
        parts = torch.stack([likely[group].sum(0) for group in self._groups], dim=-1)
        out: NDArray[np.float32] = parts.float().cpu().numpy()
        return out

    def close(self) -> None:
        """Nothing to free."""


def class_groups(names: dict[int, str]) -> list[list[int]]:
    """Class numbers of background, head, neck and torso among a network's class names.

    Raises InputError when one of the four has no class: then it is no face parser.
    """
    groups: list[list[int]] = [[], [], [], []]
    for number, name in names.items():
        groups[LABEL_OF_NAME.get(str(name).strip().lower(), HEAD)].append(int(number))
    missing = [part for part, group in zip(("background", "head", "neck", "cloth"), groups, strict=True) if not group]
    if missing:
        raise InputError(
            f"the SegFormer weights know no class {missing[0]!r} among {', '.join(map(str, names.values()))[:200]}",
            "Give weights trained for face parsing (CelebAMask-HQ)",
        )
    return groups
