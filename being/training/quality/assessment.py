"""The assessment: what the footage allows and how the avatar came out, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from being.dataset import Dataset
from being.dataset.landmarks import EYE_CORNERS, INNER_LIPS
from being.training.data.footage import Footage
from being.training.quality.novel_speech import Flicker

FPS = 25
WIDE = 0.12  # opening over the eyes' outer distance that ordinary speech passes (a talking clip: 0.15)
BLINK = 0.5  # closure that counts as a shut eye
GOOD, AIM = 28.0, 30.0  # dB over the person
STEADY = 0.5  # grey levels by which the torso may differ between speeches
MOUTH_PX = 3.0
FEW_STEPS = 2000  # of the network stage; a GPU does them in a minute


@dataclass(frozen=True)
class Seen:
    """What the training frames show.

    seconds : length. talking : seconds with speech. widest : 98th percentile of the mouth's opening over the eyes'
    distance. shut : share of frames with closed lips. turn : degrees between the head's extreme directions. blinks.
    emotions : names of the expressions that the network was told of.
    """

    seconds: float
    talking: float
    widest: float
    shut: float
    turn: float
    blinks: int
    emotions: tuple[str, ...] = ()


def look_at(footage: Footage, dataset: Dataset, talking_share: float) -> Seen:
    """Measure the training frames."""
    train = list(footage.train)
    marks = footage.landmarks[train]
    gap = np.linalg.norm(marks[:, INNER_LIPS[0]] - marks[:, INNER_LIPS[1]], axis=-1)
    opening = gap / np.maximum(np.linalg.norm(marks[:, EYE_CORNERS[0]] - marks[:, EYE_CORNERS[1]], axis=-1), 1e-6)
    facing = footage.head_poses.cpu().numpy()[train][:, :, 2]
    mean = facing.mean(0) / np.linalg.norm(facing.mean(0))
    angles = np.degrees(np.arccos(np.clip(facing @ mean, -1, 1)))
    closed = np.concatenate([[False], dataset.eyes[train] > BLINK])
    return Seen(
        seconds=len(train) / FPS,
        talking=talking_share * len(train) / FPS,
        widest=float(np.percentile(opening, 98)),
        shut=float((opening < 0.02).mean()),
        turn=float(2 * np.percentile(angles, 98)),
        blinks=int((closed[1:] & ~closed[:-1]).sum()),
        emotions=footage.expression_names,
    )


def assess(
    seen: Seen, metrics: dict[str, float], trained_psnr: float | None, flicker: Flicker | None, steps: int
) -> list[str]:
    """Sentences, the most important first.

    metrics : as in avatar.json. trained_psnr : dB over trained frames. steps : of the network stage.
    """
    said = [_quality(metrics)]
    if steps < FEW_STEPS:
        said.append(f"It was trained for {steps} steps only, a rough sketch: give it more --minutes, or a GPU.")
    psnr = metrics.get("held_out_psnr")
    if psnr is not None and trained_psnr is not None and trained_psnr - psnr > 5:
        said.append(
            f"Frames it was trained on are {trained_psnr - psnr:.0f} dB better than unseen ones: it has learned part "
            "of the footage by heart. More footage helps most."
        )
    inner, end = metrics.get("inner_psnr"), metrics.get("end_psnr")
    if inner is not None and end is not None and inner - end > 3:
        said.append("The end of the footage looks different from the rest (light, posture): film in one go.")
    mouth = metrics.get("mouth_landmarks_px")
    correlation = metrics.get("mouth_opening_correlation")
    if mouth is not None and correlation is None:
        said.append("The mouth does not move in the held-out frames: how it follows unseen speech was not measured.")
    elif mouth is not None:
        told = "follows" if mouth <= MOUTH_PX else "does not follow well"
        said.append(f"The mouth {told} unseen speech: {mouth:.1f} px from the filmed one.")
    if correlation is not None and correlation < 0.5:
        said.append(f"It opens and shuts only partly with the sound (correlation {correlation:.2f}).")
    if seen.talking < 20:
        said.append(
            f"There are {seen.talking:.0f} s of speech: sounds that do not occur are guessed. A minute is better."
        )
    if seen.widest < WIDE:
        said.append("The mouth never opens wide in the footage: expect mumbling on loud and open sounds.")
    if seen.shut < 0.02:
        said.append("The lips are hardly ever shut in the footage: expect a slightly open mouth in pauses.")
    if seen.turn < 8:
        said.append(
            f"The head turns by {seen.turn:.0f} degrees only: its sides are guesses, keep it facing the camera."
        )
    if seen.blinks == 0:
        said.append("Nobody blinks in the footage: the avatar cannot shut its eyes.")
    if seen.emotions:
        asked = ", ".join(name.replace("_", " ") for name in seen.emotions)
        said.append(f"It shows what was filmed above the lips, and can be asked to: {asked}.")
    if flicker is not None and flicker.torso > STEADY:
        said.append(f"Neck and shoulders flicker with the sound ({flicker.torso:.2f} grey levels; 0.5 goes unseen).")
    return said


def _quality(metrics: dict[str, float]) -> str:
    psnr = metrics.get("held_out_psnr")
    if psnr is None:
        return "No frame was held out: nothing can be said about unseen ones."
    if psnr >= AIM:
        return f"Unseen frames are drawn at {psnr:.1f} dB: hard to tell from the film at a glance."
    if psnr >= GOOD:
        return f"Unseen frames are drawn at {psnr:.1f} dB: clearly this person, a little soft."
    return f"Unseen frames are drawn at {psnr:.1f} dB only: soft or displaced; look at the error maps below."
