"""How far a person in refined frames is from the person filmed, by embeddings of the face.

By dlib's ResNet. Its weights are the user's, none ship: dlib_face_recognition_resnet_model_v1.dat of dlib's own models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.errors import FormatError, InputError, MissingDependencyError

Pictures = NDArray[np.uint8]
Embedding = Callable[[Pictures, NDArray[np.float32]], NDArray[np.float32]]
"""Pictures (N, H, W, 3) and landmarks (N, 68, 2) -> (N, D)."""
Identity = Callable[[Tensor, Tensor], Tensor]
"""Pictures (N, H, W, 3) uint8 and the film's -> (N,) distances of their embeddings."""


class FaceEmbedding:
    """Faces as points of 128 dimensions, in which pictures of one person lie within about 0.6.

    Raises
    ------
    InputError, FormatError : there is no such file, or it holds something else.
    MissingDependencyError : dlib is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file", "Give dlib_face_recognition_resnet_model_v1.dat")
        try:
            import dlib
        except ImportError:
            remedy = "Install it: pip install dlib-bin"
            raise MissingDependencyError("dlib", None, "The distance of face embeddings", remedy) from None
        self._dlib = dlib
        try:
            self._network = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise FormatError(
                f"{path}: {' '.join(str(error).split())[:200]}", "Give dlib_face_recognition_resnet_model_v1.dat"
            ) from None

    def __call__(self, pictures: Pictures, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures (N, H, W, 3) and the 68 iBUG landmarks (N, 68, 2) by which faces are laid upright -> (N, 128)."""
        found = [self._one(picture, marks) for picture, marks in zip(pictures, landmarks, strict=True)]
        return np.array(found, np.float32).reshape(len(found), -1)

    def _one(self, picture: Pictures, marks: NDArray[np.float32]) -> Sequence[float]:
        points = [self._dlib.point(*pair) for pair in marks.round().astype(int).tolist()]
        box = self._dlib.rectangle(
            *marks.min(0).round().astype(int).tolist(), *marks.max(0).round().astype(int).tolist()
        )
        face = self._dlib.full_object_detection(box, self._dlib.points(points))
        vector: Sequence[float] = self._network.compute_face_descriptor(np.ascontiguousarray(picture), face)
        return list(vector)


def identity_of(embedding: Embedding, landmarks: NDArray[np.float32]) -> Identity:
    """Distances of embeddings, frame by frame; faces are where the film's landmarks (N, 68, 2) are, whoever drew
    them."""

    def distances(made: Tensor, truth: Tensor) -> Tensor:
        a, b = (embedding(part.cpu().numpy(), landmarks) for part in (made, truth))
        return torch.from_numpy(np.linalg.norm(a - b, axis=1))

    return distances
