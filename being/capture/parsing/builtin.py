"""Who owns a pixel, without any download: a person mask, the face mesh as a ruler, and the colours of this very clip.

Mediapipe's selfie segmentation says where the person is. Within, each pixel is skin, hair or cloth by its colour in
this clip (mixtures fitted to places the mesh is sure about) and by where it lies on the face's own ruler; skin under
the jaw is neck. A guided filter over the four shares lets them follow the picture's edges.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.background.rim_plate import StillPlate, WanderingPlate, rim_plate
from being.capture.landmarks.mediapipe import quiet_stderr
from being.capture.parsing.colour_models import ColourModel, cells_of, lab_of
from being.capture.parsing.face_regions import FaceRegions
from being.capture.parsing.guided_filter import follow_edges
from being.capture.parsing.label_smoothing import Shares, clean_labels
from being.errors import MissingDependencyError
from being.raster.cpu.jit import FINITE_MATH, kernel

Mask = NDArray[np.bool_]

SKIN, HAIR, CLOTH = "skin", "hair", "cloth"
COMPONENTS = {SKIN: 4, HAIR: 5, CLOTH: 5}
UNSEEN_HAIR = 1e-9  # density of hair where a clip shows none
ANY_CLOTH = 3e-7  # density of cloth of a colour not seen before: a collar, a scarf
SEEDS_A_FRAME = 3_000
LEAST_SEEDS = 400
PLAIN_SKIN = 80  # percent of the pixels in the middle of a face that are plain skin
SELFIE_SIZE = 256  # pixels a side of the network's input
FILTER_SOFTNESS = 6.0  # grey levels, see guided_filter
FILTER_RADIUS = 0.02  # face lengths
TRUST_IN_PLATE = 0.75  # share of the person mask's rim decided by the difference to the plate
PLATE_NOISE = 5.0  # Lab units under which a difference to the plate is none


def _smooth_step(x: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


class SelfieMask:
    """Mediapipe's person mask, on the whole frame and, finer, on the head; each also mirrored. One a thread."""

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")
        try:
            from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
        except ImportError as error:
            raise MissingDependencyError("mediapipe", "clone", "Finding the person in the video") from error
        self._make = SelfieSegmentation
        self._starting = threading.Lock()
        self._local = threading.local()
        self._made: list[Any] = []

    def __call__(
        self, image: NDArray[np.uint8], face: FaceRegions, ways: tuple[bool, ...] = (False, True)
    ) -> NDArray[np.float32]:
        """Share of the person in every working pixel, float32 (h, w) of `face.shape`, of RGB `image` (H, W, 3).

        `ways`: the views averaged, mirrored or not.
        """
        height, width = face.shape
        x0, y0, x1, y1 = face.head_box()
        grow_x, grow_y = image.shape[1] / width, image.shape[0] / height
        person = self._averaged(image, (width, height), ways)
        if x1 - x0 < 16 or y1 - y0 < 16:
            return person
        head = image[int(y0 * grow_y) : int(y1 * grow_y), int(x0 * grow_x) : int(x1 * grow_x)]
        finer = self._averaged(head, (x1 - x0, y1 - y0), ways)
        border = max(4, int(0.055 * (x1 - x0)))
        weight = np.zeros(finer.shape, np.float32)
        rows = np.s_[border if y0 > 0 else 0 : -border if y1 < height else None]
        columns = np.s_[border if x0 > 0 else 0 : -border if x1 < width else None]
        weight[rows, columns] = 1
        weight = cv2.blur(weight, (2 * border + 1, 2 * border + 1))
        person[y0:y1, x0:x1] += weight * (finer - person[y0:y1, x0:x1])
        return np.clip(person, 0, 1)

    def _averaged(self, image: NDArray[np.uint8], size: tuple[int, int], ways: tuple[bool, ...]) -> NDArray[np.float32]:
        small = cv2.resize(image, (SELFIE_SIZE, SELFIE_SIZE), interpolation=cv2.INTER_AREA)
        total = np.zeros((SELFIE_SIZE, SELFIE_SIZE), np.float32)
        for mirrored in ways:
            mask = self._run(np.ascontiguousarray(small[:, ::-1]) if mirrored else small)
            total += mask[:, ::-1] if mirrored else mask
        return cv2.resize(total / len(ways), size, interpolation=cv2.INTER_LINEAR)

    def _run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        network = getattr(self._local, "network", None)
        if network is None:
            with self._starting, quiet_stderr():
                network = self._local.network = self._make(model_selection=0)
                network.process(np.zeros((SELFIE_SIZE, SELFIE_SIZE, 3), np.uint8))
                self._made.append(network)
        mask: NDArray[np.float32] = network.process(image).segmentation_mask
        return mask.astype(np.float32)

    def close(self) -> None:
        """Free the networks."""
        while self._made:
            self._made.pop().close()
        self._local = threading.local()


class BuiltinParser:
    """See the module. `learn` once from a few frames of the clip, then `shares` of any frame from any thread."""

    def __init__(self) -> None:
        self._person = SelfieMask()
        self._models: dict[str, ColourModel] = {}
        self._plate: StillPlate | WanderingPlate | None = None

    def learn(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[FaceRegions]) -> list[NDArray[np.uint8]]:
        """Fit the colours of the clip; return first labels (h, w) of the images given."""
        small = [working_image(image, face.shape) for image, face in zip(images, faces, strict=True)]
        labs = [lab_of(image) for image in small]
        persons = [self._person(image, face) for image, face in zip(images, faces, strict=True)]
        seeds = [seeds_of(person, face) for person, face in zip(persons, faces, strict=True)]
        self._models = fit_colours(labs, seeds, first=True)
        labels = [self._first_labels(*each) for each in zip(small, labs, persons, faces, strict=True)]
        skin = np.concatenate([lab[masks[SKIN]] for lab, masks in zip(labs, seeds, strict=True)])
        skinny = [self._models[SKIN].admits(lab, skin) for lab in labs]
        seeds = [seeds_of(*each) for each in zip(persons, faces, labels, skinny, strict=True)]
        self._models = fit_colours(labs, seeds, first=False)
        labels = [self._first_labels(*each) for each in zip(small, labs, persons, faces, strict=True)]
        self._plate = rim_plate(small, labs, labels)
        return labels

    def shares(self, image: NDArray[np.uint8], face: FaceRegions, index: int = 0) -> Shares:
        """Shares (h, w, 4) of background, head, neck and torso in every working pixel of frame `index`."""
        small = working_image(image, face.shape)
        lab = lab_of(small)
        # Every other frame is looked at in the mirror: the average along the motion does the rest, at half the time.
        person = self._person(image, face, ways=(index % 2 == 1,))
        if self._plate is not None:
            person = self._against_plate(small, lab, person)
        return self._filtered(small, lab, person, face)

    def close(self) -> None:
        """Free the networks."""
        self._person.close()

    def _first_labels(
        self, small: NDArray[np.uint8], lab: NDArray[np.uint8], person: NDArray[np.float32], face: FaceRegions
    ) -> NDArray[np.uint8]:
        return clean_labels(self._filtered(small, lab, person, face).argmax(-1).astype(np.uint8), face.hull)

    def _filtered(
        self, small: NDArray[np.uint8], lab: NDArray[np.uint8], person: NDArray[np.float32], face: FaceRegions
    ) -> Shares:
        shares = class_shares(cells_of(lab), person, face, self._models)
        radius = max(2, int(face.length * FILTER_RADIUS))
        return follow_edges(shares, small, radius, FILTER_SOFTNESS)

    def _against_plate(
        self, small: NDArray[np.uint8], lab: NDArray[np.uint8], person: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The mask's rim, decided by how far a pixel is from what stands behind it."""
        behind = None if self._plate is None else self._plate.under(small, person)
        if behind is None:
            return person
        difference = (lab.astype(np.float32) - behind.plate) * np.array([0.7, 1.3, 1.3], np.float32)
        distance = np.sqrt((difference * difference).sum(-1)) / (PLATE_NOISE + 2 * behind.spread)
        inside = (person > 0.5).astype(np.uint8)
        reach = max(2, int(min(inside.shape) * 0.03))
        wide, narrow = np.ones((2 * reach + 1,) * 2), np.ones((reach + 1,) * 2)
        rim = (cv2.dilate(inside, wide) > 0) & (cv2.erode(inside, narrow) == 0)
        weight = TRUST_IN_PLATE * behind.trust * cv2.blur(rim.astype(np.float32), (3, 3))
        return person + weight * (_smooth_step(distance, 1.0, 3.5) - person)


def working_image(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) reduced to (h, w, 3)."""
    return image if image.shape[:2] == shape else cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)


def class_shares(
    cells: NDArray[np.int32], person: NDArray[np.float32], face: FaceRegions, models: dict[str, ColourModel]
) -> Shares:
    """What colour and place say, before any filter: shares (h, w, 4)."""
    none = np.zeros(1, np.float32)
    tables = [models[name].table if name in models else none for name in (SKIN, HAIR, CLOTH)]
    hull = cv2.GaussianBlur(face.hull.astype(np.float32), (0, 0), 0.75)
    shares = np.empty((*person.shape, 4), np.float32)
    _class_shares(cells, person, face.across, face.down, face.below_jaw, hull, *tables, shares)
    return shares


@kernel(FINITE_MATH)
def _step(x, low, high):  # type: ignore[no-untyped-def]
    """0 below `low`, 1 above `high`, smooth between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@kernel(FINITE_MATH)
def _class_shares(cells, person, across, down, below_jaw, hull, skins, hairs, clothes, out):  # type: ignore[no-untyped-def]
    """One pixel after another: how likely each stuff is here, then which part that makes it."""
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            cell, v, side = cells[y, x], down[y, x], abs(across[y, x])
            below = _step(below_jaw[y, x], -0.02, 0.03)
            on_chest = _step(v, 0.3, 0.5)
            beside = 1.0 if side < 0.36 else np.exp(-(((side - 0.36) / 0.22) ** 2))
            skin = skins[cell] * (beside * (1.0 - 0.6 * _step(v, 0.9, 1.6)) + 0.02)
            hangs = 1.0 - 0.75 * _step(v, 0.35, 1.3) - 0.25 * _step(side, 0.7, 1.3)
            under_chin = below * 0.97 * (1.0 - _step(side, 0.12, 0.36))  # hair hangs beside the neck, hardly before it
            hair = (hairs[cell] if hairs.size > 1 else UNSEEN_HAIR) * min(max(hangs, 0.02), 1.0) * (1.0 - under_chin)
            cloth = (clothes[cell] if clothes.size > 1 else 0.0) + ANY_CLOTH
            cloth *= 0.97 * _step(v, 0.38, 0.75) + 0.002
            total = skin + hair + cloth + 1e-8
            skin, hair, cloth = skin / total, hair / total, cloth / total
            face = hull[y, x]
            somebody = max(person[y, x], face)
            outside = (1.0 - face) * somebody
            out[y, x, 0] = 1.0 - somebody
            out[y, x, 1] = (hair + skin * (1.0 - below) + cloth * (1.0 - on_chest)) * outside + face * somebody
            out[y, x, 2] = skin * below * outside
            out[y, x, 3] = cloth * on_chest * outside


def seeds_of(
    person: NDArray[np.float32], face: FaceRegions, labels: NDArray[np.uint8] | None = None, skinny: Mask | None = None
) -> dict[str, Mask]:
    """Pixels that are surely skin, hair or cloth: by place alone, or also by first labels and skin colour (h, w)."""
    down, side = face.down, np.abs(face.across)
    sure = person > 0.9
    inner = cv2.erode(face.hull, np.ones((5, 5), np.uint8)) > 0
    rows = np.flatnonzero(sure.any(1))
    lowest = rows.max() if len(rows) else 0
    row = np.arange(person.shape[0])[:, None]
    seeds = {
        SKIN: inner & (down > -0.25) & (down < 0.42) & (side < 0.3),
        HAIR: sure & (face.hull == 0) & (down < -0.48) & (down > -1.0) & (side < 0.5),
        CLOTH: sure
        & (
            ((down > 1.15) & (side > 0.2))
            | ((side > 0.75) & (down > 0.95))
            | ((row > lowest - 0.05 * person.shape[0]) & (side > 0.42) & (down > 0.6))
        ),
    }
    if labels is not None and skinny is not None:
        head, neck, torso = (cv2.erode((labels == k).astype(np.uint8), np.ones((3, 3))) > 0 for k in (1, 2, 3))
        seeds[SKIN] |= neck & skinny & (side < 0.4) & (down < 1.0)
        seeds[HAIR] |= head & (face.hull == 0) & ((down < -0.1) | (side > 0.6) | (down > 0.55))
        seeds[CLOTH] |= torso
    return seeds


def fit_colours(
    labs: Sequence[NDArray[np.uint8]], seeds: Sequence[dict[str, Mask]], first: bool
) -> dict[str, ColourModel]:
    """Colour models of skin, and of hair and cloth where the clip shows enough of them.

    `first`: the seeds know places only. Foreheads and bare chests fall among hair and cloth then, so what is coloured
    like the face is dropped from these.
    """
    random = np.random.default_rng(1)
    samples: dict[str, list[NDArray[np.uint8]]] = {SKIN: [], HAIR: [], CLOTH: []}
    for lab, masks in zip(labs, seeds, strict=True):
        for name, mask in masks.items():
            found = lab[mask]
            samples[name].append(found[random.permutation(len(found))[:SEEDS_A_FRAME]])
    colours = {name: np.concatenate(found) for name, found in samples.items()}
    if len(colours[SKIN]) == 0:
        colours[SKIN] = np.array([[160, 142, 146]], np.uint8)  # nobody's face shows: any skin will do
    if first:
        # Eyes, brows and lips lie among the first seeds of skin: too dark, too red.
        away = np.linalg.norm((colours[SKIN] - np.median(colours[SKIN], 0)) * (0.5, 1, 1), axis=1)
        colours[SKIN] = colours[SKIN][away <= np.percentile(away, PLAIN_SKIN)]
    models = {SKIN: ColourModel.fit(colours[SKIN], COMPONENTS[SKIN])}
    if first:
        for name in (HAIR, CLOTH):
            other = colours[name][~models[SKIN].admits(colours[name], colours[SKIN])]
            colours[name] = other if len(other) > 0.1 * len(colours[name]) else colours[name]
    for name in (HAIR, CLOTH):
        if len(colours[name]) >= LEAST_SEEDS:
            models[name] = ColourModel.fit(colours[name], COMPONENTS[name])
    return models
