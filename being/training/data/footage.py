"""The footage as training reads it: every frame looked at once, pictures kept by `frame_store`, made into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from os import cpu_count

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from being.dataset import Dataset
from being.dataset.landmarks import EYES, MOUTH, mouth_opening
from being.dataset.parsing import BACKGROUND
from being.errors import InputError
from being.model import camera_code
from being.model.network import CAMERA_CODE
from being.training.config import FitConfig
from being.training.data.backgrounds import grown, random_patches
from being.training.data.frame_store import Decoded, Pixels, frame_store
from being.training.data.parted_lips import LIPS_PARTED, lips_parted, worth_telling
from being.training.data.rehearsal import Rehearsal
from being.training.loss.mouth import INNER, TEETH, mouth_interior

MOUTH_MARGIN, EYE_MARGIN = 0.25, 0.5  # of the landmarks' box, each side
FACE_WINDOW = 1.2  # sides of the face that a window around it has
LEAST_BLOCK = 11  # frames of the inner block in footage long enough to spare them
PARSING = 3  # bits of a stored byte that are the label
INNER_SHARE = 0.4  # how much the mouth's inside counts where it is not teeth


@dataclass(frozen=True)
class Batch:
    """B frames on the training device; its fields are all that a step reads of them.

    frames (B,) their numbers; truth (B, H, W, 3) in [0, 1], the person over `behind` (B, H, W, 3); labels (B, H, W) as
    `being.dataset.parsing`; mask (B, H, W) 1 on the person; alpha (B, H, W) how much of a pixel is the person; teeth
    (B, H, W) how much the inside of an open mouth counts, in [0, 1]; lips (B, 4) and eyes (B, 2, 4) boxes x0 y0 x1 y1
    in pixels; face (B, 2) x y, whole pixels, the upper left of a window that holds the face; head_pose, torso_pose
    (B, 3, 4); eye (B, 1) closure; camera (B, 12) camera code; audio (B, 8, 16, D);
    expression (B, E) in [0, 1]; rehearsed (B,) moments of speech that is not the footage's, other_audio
    (B, 8, 16, D) and other_expression (B, E) how they sound and what is told beside that; other_audio (B, 0) where
    nothing is rehearsed.
    """

    frames: Tensor
    truth: Tensor
    behind: Tensor
    labels: Tensor
    mask: Tensor
    alpha: Tensor
    teeth: Tensor
    lips: Tensor
    eyes: Tensor
    face: Tensor
    head_pose: Tensor
    torso_pose: Tensor
    eye: Tensor
    camera: Tensor
    audio: Tensor
    expression: Tensor
    rehearsed: Tensor
    other_audio: Tensor
    other_expression: Tensor

    @property
    def count(self) -> int:
        """B."""
        return len(self.frames)

    def split(self, most: int | None) -> list[Batch]:
        """Batches of at most so many frames, in order; None: this one."""
        if most is None or most >= self.count:
            return [self]
        values = {field.name: getattr(self, field.name).split(most) for field in fields(self)}
        return [Batch(**dict(zip(values, part, strict=True))) for part in zip(*values.values(), strict=True)]


@dataclass(frozen=True)
class Lots:
    """What chance decided about a batch of B frames.

    frames (B,) their numbers; of deviation 1: noise (B, 8, 16, D) on the features, shake (B, 12) on the camera code,
    twitch (B, E) on the expressions; patches (B, 3, K, K) the backgrounds, see `random_patches`; () without mattes;
    voice (B,) in whose voice the sound is heard, 0 the film's own; () where there is no other. rehearsed (B,) moments
    of other speech; () where there is none.
    """

    frames: Tensor
    noise: Tensor
    shake: Tensor
    twitch: Tensor
    patches: Tensor
    voice: Tensor
    rehearsed: Tensor

    def to(self, device: torch.device) -> Lots:
        """The same on a device."""
        return Lots(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class HeldOut:
    """Frame numbers never trained on: a block inside the footage and the block at its end."""

    inner: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        """Both blocks."""
        return self.inner + self.end


def split_frames(dataset: Dataset, inner_share: float) -> tuple[tuple[int, ...], HeldOut]:
    """Frames to train on, and the held-out blocks.

    The end block is the dataset's own validation split; the inner block lies in the middle half of its training split,
    where the mouth moves most: a block of silence would say nothing about speech.
    """
    train = dataset.split.train
    size = round(len(train) * inner_share)
    if inner_share > 0 and len(train) >= 8 * LEAST_BLOCK:
        size = max(size, LEAST_BLOCK)
    start = (len(train) - size) // 2
    if 0 < size < len(train) // 2:
        marks = np.stack([dataset.landmarks(index) for index in train])
        moving = sliding_window_view(mouth_opening(marks), size).std(1)
        first = len(train) // 4
        start = first + int(moving[first : len(train) - first - size + 1].argmax())
    inner = train[start : start + size]
    rest = train[:start] + train[start + size :]
    return rest, HeldOut(inner, dataset.split.val)


class Footage:
    """All frames of a dataset. Its attributes are what the loop reads of each frame, loaded once.

    Parameters
    ----------
    dataset : validated on the way: a picture that cannot be read raises FormatError with its name.
    contexts : float32 (T, 8, 16, D) audio contexts, see `being.training.data.speech`.
    device : where batches are made.
    progress : called with (done, total) after each frame.
    quiet : (T,) see `being.training.data.speech.Speech`; None: nothing is told of lips that part in silence.
    voices : contexts (T, 8, 16, D) of the same sound in other voices, which `draw` gives as often as the film's own.
    rehearsal : speech that is heard beside it.

    Attributes
    ----------
    train, held_out : frame numbers. background (H, W, 3) in [0, 1]. intrinsics (4,).
    has_mattes : frames know how much of each pixel is the person, as the background did not stand still: `draw` puts
        them before backgrounds drawn by lot.
    expressions : (T, E) in [0, 1], by `expression_names`.
    landmarks : (T, 68, 2) pixels on the CPU. opening : (T,) mouth opening over its 95th percentile, clipped to [0, 1].
    """

    def __init__(
        self,
        dataset: Dataset,
        contexts: NDArray[np.float32],
        config: FitConfig,
        device: torch.device,
        progress: Callable[[int, int], None] | None = None,
        quiet: NDArray[np.float32] | None = None,
        voices: Sequence[NDArray[np.float32]] = (),
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self.device = device
        self.frames, self.width, self.height = dataset.frames, dataset.width, dataset.height
        self.train, self.held_out = split_frames(dataset, config.inner_block)
        if not self.train:
            raise InputError(f"{dataset.path} leaves no frame to train on", "Lower inner_block or use more footage")
        self.background = torch.from_numpy(dataset.background.copy()).to(device).float() / 255
        self.intrinsics = torch.from_numpy(dataset.intrinsics).to(device)
        landmarks = np.empty((self.frames, 68, 2), np.float32)
        self.has_mattes = dataset.has_mattes
        self._stored = frame_store(
            config.keep_frames, self.frames, (self.width, self.height), self.has_mattes, dataset.composited, device
        )
        no_teeth = np.zeros((self.height, self.width), bool)

        def teeth_of(index: int) -> NDArray[np.bool_] | None:
            if not dataset.finds_teeth:
                return None
            found = dataset.teeth(index)
            return no_teeth if found is None else found

        def load(index: int) -> None:
            image, landmarks[index] = dataset.composited(index), dataset.landmarks(index)
            alpha = dataset.alpha(index) if self.has_mattes else None
            # The bits of the inner mouth share the byte of the label (0..3): no memory for what few pixels have.
            marks = dataset.parsing(index) | mouth_interior(image, landmarks[index], teeth_of(index))
            self._stored.put(index, Decoded(image, marks, alpha))

        with ThreadPoolExecutor(min(16, cpu_count() or 4)) as pool:
            for done, _ in enumerate(pool.map(load, range(self.frames)), start=1):
                if progress is not None:
                    progress(done, self.frames)

        self.landmarks = landmarks
        self.head_poses = torch.from_numpy(dataset.head_poses).to(device)
        self.torso_poses = torch.from_numpy(dataset.torso_poses).to(device)
        self.closure = torch.from_numpy(dataset.eyes)[:, None].to(device)
        self.opening = mouth_opening(landmarks)
        self.expression_names = dataset.expression_names if config.expressions else ()
        shown = dataset.expressions[:, : len(self.expression_names)]
        if quiet is not None and config.lips_parted and worth_telling(parted := lips_parted(self.opening, quiet)):
            self.expression_names = (*self.expression_names, LIPS_PARTED)
            shown = np.concatenate([shown, parted[:, None]], 1)
        self.expressions = torch.from_numpy(np.ascontiguousarray(shown)).to(device)
        self._told = torch.tensor([float(name != LIPS_PARTED) for name in self.expression_names]).to(device)
        self.contexts = torch.from_numpy(contexts).to(device)
        self._voices = torch.from_numpy(np.stack([contexts, *voices])).to(device) if voices else None
        self.rehearsal = rehearsal
        self.other_contexts = None if rehearsal is None else torch.from_numpy(rehearsal.contexts).to(device)
        self._lips = torch.from_numpy(boxes_of(landmarks[:, MOUTH], MOUTH_MARGIN)).to(device)
        eyes = [boxes_of(landmarks[:, part], EYE_MARGIN) for part in EYES]
        self._eyes = torch.from_numpy(np.stack(eyes, 1)).to(device)
        self.face_side, corners = windows_of(landmarks, self.width, self.height)
        self._faces = torch.from_numpy(corners).to(device)
        eye = dataset.eyes
        weight = 1 + config.open_mouth_weight * self.opening + config.blink_weight * eye
        self._chance = torch.from_numpy(weight[list(self.train)]).double()
        self._train = torch.tensor(self.train)
        self._camera_noise, self._expression_noise = config.camera_noise, config.expression_noise
        self._noise = config.feature_noise * self.contexts[self._train.to(device)].flatten(0, 2).std(0)

    def draw(self, count: int, generator: torch.Generator, mine: slice = slice(None)) -> Batch:
        """`count` random training frames, of which the slice `mine` is made; open mouths and blinks come more often.

        Features, camera code and expression carry a little noise: a clip has few sentences, each was spoken in one pose
        and with one face, and the network must not learn to read the words off these. Where the footage has mattes,
        each frame stands before another background: what shines through the person or is left of the old background
        around it is wrong before most of them.
        """
        return self.disturbed(self.lots(count, generator, mine).to(self.device))

    def lots(self, count: int, generator: torch.Generator, mine: slice = slice(None)) -> Lots:
        """What chance decides of `draw`, on the CPU."""
        picked = torch.multinomial(self._chance, count, replacement=True, generator=generator)
        noise = torch.randn((count, *self.contexts.shape[1:]), generator=generator)[mine]
        shake = torch.randn((count, CAMERA_CODE), generator=generator)[mine]
        twitch = torch.randn((count, self.expressions.shape[1]), generator=generator)[mine]
        patches = random_patches(count, generator, mine) if self.has_mattes else torch.zeros(0)
        voice = torch.zeros(0)
        if self._voices is not None:
            voice = torch.randint(len(self._voices), (count,), generator=generator)[mine]
        rehearsed = torch.zeros(0)
        if self.other_contexts is not None:
            rehearsed = torch.randint(len(self.other_contexts), (count,), generator=generator)[mine]
        if not self.resident:  # pictures that have to be fetched: the next step's meanwhile, if nobody else draws lots
            ahead = torch.Generator().set_state(generator.get_state())
            following = torch.multinomial(self._chance, count, replacement=True, generator=ahead)
            self._stored.expect(self._train[following][mine].tolist())
        return Lots(self._train[picked][mine], noise, shake, twitch, patches, voice, rehearsed)

    def disturbed(self, lots: Lots, pixels: Pixels | None = None) -> Batch:
        """The batch that lots on the device mean, with their pictures where these are not `resident`.

        Nothing here waits for a GPU, or is copied to it.
        """
        batch = self.batch(lots.frames, pixels)
        if self.has_mattes:
            behind = grown(lots.patches, self.height, self.width)
            truth = batch.truth + (1 - batch.alpha[..., None]) * (behind - batch.behind)
            batch = replace(batch, truth=truth.clamp(0, 1), behind=behind)
        if self.other_contexts is not None:
            batch = replace(
                batch,
                rehearsed=lots.rehearsed,
                other_audio=self.other_contexts[lots.rehearsed] + lots.noise * self._noise,
                other_expression=self.spoken(batch.expression),
            )
        return replace(
            batch,
            audio=self._spoken(batch, lots) + lots.noise * self._noise,
            camera=batch.camera + self._camera_noise * lots.shake,
            expression=batch.expression + self._expression_noise * lots.twitch,
        )

    def spoken(self, expression: Tensor) -> Tensor:
        """Expressions (B, E) with lips that are parted by speech alone."""
        return expression * self._told

    @property
    def resident(self) -> bool:
        """Whether the pictures are on the device that makes batches of them."""
        return self._stored.on_device

    def pixels(self, frames: Tensor) -> Pixels:
        """The stored pictures of frames (B,), on the device."""
        return self._stored.take(frames)

    def _spoken(self, batch: Batch, lots: Lots) -> Tensor:
        """What the network hears, (B, 8, 16, D): the film's sound in the voice that was drawn."""
        return batch.audio if self._voices is None else self._voices[lots.voice, batch.frames]

    def batch(self, indices: Sequence[int] | Tensor, pixels: Pixels | None = None) -> Batch:
        """The frames `indices`, as they are; a tensor of them is on the device already. pixels : theirs, if at hand."""
        where = indices if isinstance(indices, Tensor) else torch.tensor(list(indices), device=self.device)
        images, marks, alphas = self.pixels(where) if pixels is None else pixels
        labels = marks & PARSING
        mask = (labels != BACKGROUND).float()
        return Batch(
            frames=where,
            truth=images.float() / 255,
            behind=self.background.expand(len(where), -1, -1, -1),
            labels=labels,
            mask=mask,
            alpha=alphas.float() / 255 if self.has_mattes else mask,
            teeth=(marks & TEETH > 0).float() + INNER_SHARE * (marks & INNER > 0).float(),
            lips=self._lips[where],
            eyes=self._eyes[where],
            face=self._faces[where],
            head_pose=self.head_poses[where],
            torso_pose=self.torso_poses[where],
            eye=self.closure[where],
            camera=camera_code(self.head_poses[where]),
            audio=self.contexts[where],
            expression=self.expressions[where],
            rehearsed=torch.zeros_like(where),
            other_audio=self.contexts.new_zeros(len(where), 0),
            other_expression=self.expressions[where],
        )

    def adopt(self, head: Tensor, torso: Tensor) -> None:
        """Take poses (T, 3, 4) in place of those the footage came with."""
        self.head_poses, self.torso_poses = head.detach(), torso.detach()

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` over the plate, RGB (H, W, 3)."""
        return self._stored.one(index).image

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Labels (H, W) of frame `index`."""
        return self._stored.one(index).marks & np.uint8(PARSING)


def windows_of(landmarks: NDArray[np.float32], width: int, height: int) -> tuple[int, NDArray[np.int64]]:
    """Side of a square window, the same for all frames, and its upper left corners (T, 2), around landmarks (T, 68, 2).

    It holds the widest face and a tenth of it around, and lies inside the picture.
    """
    low, high = landmarks.min(1), landmarks.max(1)
    side = min(int(np.ceil(FACE_WINDOW * np.percentile(high - low, 95))), width, height)
    corners = ((low + high - side) / 2).round().clip(0, (width - side, height - side))
    return side, corners.astype(np.int64)


def boxes_of(points: NDArray[np.float32], margin: float) -> NDArray[np.float32]:
    """Boxes (T, 4) x0 y0 x1 y1 around points (T, K, 2), grown by `margin` of the longer side on every side."""
    low, high = points.min(1), points.max(1)
    grow = margin * (high - low).max(1, keepdims=True)
    return np.concatenate([low - grow, high + grow], 1).astype(np.float32)
