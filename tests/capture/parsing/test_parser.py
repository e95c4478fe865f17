"""Labels: the ruler on the face, clean-up, edges, averaging, block-wise resume, both parsers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.parsing.colour_models import ColourModel, cells_of, lab_of
from being.capture.parsing.face_regions import CHIN, FACE_OVAL, FOREHEAD, JAW, FaceRegions
from being.capture.parsing.label_smoothing import average_along_motion, clean_labels, sharpen
from being.capture.parsing.parser import BLOCK, ClipParser, open_parser
from being.capture.parsing.segformer import class_groups
from being.errors import InputError

SIDE = 64


def mesh(cx: float = 32, cy: float = 28, radius: float = 16) -> NDArray[np.float32]:
    """478 points, those of the oval and the jaw on a circle (478, 3)."""
    points = np.tile(np.array([cx, cy, 0], np.float32), (478, 1))
    angles = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)  # from the forehead, clockwise
    points[list(FACE_OVAL), 0] = cx + radius * np.sin(angles)
    points[list(FACE_OVAL), 1] = cy - radius * np.cos(angles)
    return points


@dataclass
class Meshes:
    points: NDArray[np.float32]


class ColourParser:
    """Tells parts by plain colours, and remembers nothing: red head, green neck, blue torso."""

    def learn(self, images: Any, faces: Any) -> list[NDArray[np.uint8]]:
        return [
            self.shares(image, face, 0).argmax(-1).astype(np.uint8) for image, face in zip(images, faces, strict=True)
        ]

    def shares(self, image: NDArray[np.uint8], face: FaceRegions, index: int) -> NDArray[np.float32]:
        small = cv2.resize(image, face.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return np.concatenate([1 - small.max(-1, keepdims=True), small], axis=-1)

    def close(self) -> None:
        pass


def picture(shift: int = 0) -> NDArray[np.uint8]:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[44:, 8 + shift : 56 + shift] = (0, 0, 255)
    cv2.circle(image, (32 + shift, 28), 16, (255, 0, 0), -1)
    image[42:48, 27 + shift : 37 + shift] = (0, 255, 0)
    return image


def test_the_ruler_follows_the_face() -> None:
    points = mesh()
    face = FaceRegions(points, (SIDE, SIDE))
    assert face.length == pytest.approx(float(np.linalg.norm(points[CHIN] - points[FOREHEAD])))
    assert face.down[28, 32] == pytest.approx(0, abs=0.05)
    assert face.across[28, 48] == pytest.approx(0.5, abs=0.05)
    assert face.hull[28, 32] == 1 and face.hull[50, 32] == 0
    assert face.below_jaw[50, 32] > 0 > face.below_jaw[20, 32]
    lowest = points[list(JAW), 1].max()
    assert face.below_jaw[int(lowest) + 2, 32] > 0


def test_a_colour_is_likely_where_it_was_seen() -> None:
    random = np.random.default_rng(0)
    reds = np.clip(random.normal((120, 190, 160), 5, (2000, 3)), 0, 255).astype(np.uint8)
    model = ColourModel.fit(reds, 3)
    assert model(cells_of(reds)).mean() > 1e3 * model(cells_of(np.array([[60, 120, 120]], np.uint8)))[0]
    assert model.admits(reds, reds).mean() > 0.7
    assert lab_of(picture()).shape == (SIDE, SIDE, 3)


def test_specks_go_to_what_surrounds_them() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[10:40, 20:44], labels[40:, 8:56] = 1, 3
    hull = (labels == 1).astype(np.uint8)
    clean = labels.copy()
    labels[25, 30] = 3  # a speck of torso in the face
    labels[5:8, 2:5] = 1  # a piece of somebody else
    labels[50, 30] = 0  # a hole
    np.testing.assert_array_equal(clean_labels(labels, hull), clean)


def test_edges_are_drawn_at_full_size() -> None:
    large = np.zeros((SIDE, SIDE, 3), np.uint8)
    large[:, 31:] = 200  # an edge that half the size cannot hold
    small = cv2.resize(large, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)[..., 0]
    shares = np.zeros((SIDE // 2, SIDE // 2, 4), np.float32)
    shares[..., 1] = small / 200
    shares[..., 0] = 1 - shares[..., 1]
    labels = sharpen(shares, small, large)
    np.testing.assert_array_equal(labels, (large[..., 0] > 0).astype(np.uint8))


def test_one_wrong_frame_is_outvoted_where_the_picture_agrees() -> None:
    gray = cv2.cvtColor(picture(), cv2.COLOR_RGB2GRAY)
    right = np.zeros((SIDE, SIDE, 4), np.float32)
    right[..., 1] = 1
    wrong = right[..., ::-1] * 0.55 + right * 0.45
    averaged = average_along_motion([gray] * 3, [right, right, wrong])
    assert (averaged[-1].argmax(-1) == 1).mean() > 0.95


def test_a_clip_is_labelled_and_goes_on_at_a_block() -> None:
    frames = [picture(i % 4) for i in range(BLOCK + 10)]
    track = Meshes(np.stack([mesh(32 + i % 4) for i in range(len(frames))]))
    from_start = ClipParser(frames, track, ColourParser(), 2)
    from_start.learn()
    whole = list(from_start.labels())
    assert len(whole) == len(frames)
    image = frames[1]
    for label in (1, 2, 3):
        truth = (image.argmax(-1) == label - 1) & (image.max(-1) > 0)
        found = whole[1] == label
        assert (truth & found).sum() / (truth | found).sum() > 0.85, label
    clip = ClipParser(iter_only(frames), track, ColourParser(), 1)
    clip.learn()
    np.testing.assert_array_equal(np.stack(list(clip.labels(BLOCK))), np.stack(whole[BLOCK:]))
    with pytest.raises(ValueError, match="multiple"):
        next(clip.labels(1))


def iter_only(frames: list[NDArray[np.uint8]]) -> Any:
    class Stream:
        def __iter__(self) -> Any:
            return iter(frames)

    return Stream()


def test_an_unknown_parser_is_named() -> None:
    with pytest.raises(InputError, match="no parser 'grabcut'"):
        open_parser("grabcut")


def test_segformer_loads_weights_and_groups_their_classes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="segformer needs transformers")
    names = {0: "background", 1: "skin", 2: "hair", 3: "neck", 4: "cloth", 5: "l_ear"}
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 2],
        hidden_sizes=[8, 8],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "weights")
    parser = open_parser(f"segformer:{tmp_path / 'weights'}")
    face = FaceRegions(mesh(), (SIDE, SIDE))
    shares = parser.shares(picture(), face, 0)
    assert shares.shape == (SIDE, SIDE, 4)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert parser.learn([picture()], [face])[0].shape == (SIDE, SIDE)
    assert class_groups(names) == [[0], [1, 2, 5], [3], [4]]


def test_weights_that_are_no_face_parser_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="segformer needs transformers")
    with pytest.raises(InputError, match="no class 'neck'"):
        class_groups({0: "background", 1: "car", 2: "cloth"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be loaded"):
        open_parser(f"segformer:{tmp_path / 'empty'}")
