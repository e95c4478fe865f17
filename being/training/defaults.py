"""What to train with where nobody said: by how much footage there is and by what will do the work."""

from __future__ import annotations

from being.constants import FPS
from being.dataset import Dataset
from being.training.config import DensifyConfig, FitConfig, LearningRates, LossWeights

FEW_S, MANY_S = 8.0, 40.0  # seconds of footage: in up to so few sounds occur once or never, in so many all occur
SOUND_RATES = (0.86, 0.94, 1.08, 1.16)  # in which the sound of little footage is heard as well, as other voices'
VOICES_S = 90.0  # seconds of footage up to which there is room for them, and need
GPU_MINUTES, CPU_MINUTES = 4.0, 30.0
AUDIO_GAIN = 1.3  # at most: the more, the less a held-out mouth is drawn as filmed (0.1 dB)
SHARPENING = 1.6  # at most, of the film's fine structure on a GPU: measured there, after some ten thousand steps
REHEARSAL = 0.3  # of what a frame of the footage counts, up to VOICES_S: five seconds teach no p, others' speech does
PIXELS_EACH = 12  # of the picture for each Gaussian
FEWEST, MOST_CPU, MOST_GPU = 500, 8_000, 20_000  # Gaussians
PIXELS_EACH_LARGE, MOST_LARGE = 23, 50_000  # of pictures with room for more than MOST_GPU, on a GPU


def on_gpu(device: str) -> bool:
    """Whether `device` ("auto", "cpu", "cuda:1") means a GPU here."""
    import torch

    return torch.cuda.is_available() if device == "auto" else device.startswith("cuda")


def default_minutes(device: str) -> float:
    """Minutes of training that give a presentable avatar (GPU) or a rough one (CPU)."""
    return GPU_MINUTES if on_gpu(device) else CPU_MINUTES


def config_for(dataset: Dataset, device: str, minutes: float) -> FitConfig:
    """The training configuration of `being clone`.

    Seconds of footage are easily overfitted: the less there is, the more the network is trained with feature noise and
    dropout and the lower its learning rate. Under `MANY_S` seconds it starts from all of the demo's network. Under
    `FEW_S` its audio encoder stays frozen; from there on it is trained, up to `VOICES_S` in other voices too. Up to
    there synthetic speech is rehearsed beside the film's. The lips' distances are led by the film's, and what parts
    them in silence is told. On a GPU faces are taught sharper than filmed, as far as they are drawn softer. A small
    picture has no use for many Gaussians, one of more than 700 pixels a side for more than 20,000; a CPU draws fewer,
    few frames at a time.
    """
    seconds = dataset.frames / FPS
    enough = min(max((seconds - FEW_S) / (MANY_S - FEW_S), 0.0), 1.0)

    def graded(few: float, many: float) -> float:
        return round(few + enough * (many - few), 4)

    rehearsed, voices = seconds < VOICES_S, FEW_S <= seconds < VOICES_S
    gpu = on_gpu(device)
    pixels = dataset.width * dataset.height
    most = max(MOST_GPU, min(pixels // PIXELS_EACH_LARGE, MOST_LARGE)) if gpu else MOST_CPU
    count = min(max(pixels // PIXELS_EACH, FEWEST), most)
    return FitConfig(
        minutes=minutes,
        device=device,
        batch=8 if gpu else 2,
        gaussians=count,
        initial_gaussians=round(0.7 * count),
        static_minutes_share=graded(0.25, 0.2),
        feature_noise=graded(0.4, 0.05),
        dropout=graded(0.15, 0.0),
        camera_noise=graded(0.05, 0.02),
        pretrained_parts="network" if seconds < MANY_S else "audio_encoder",
        freeze_audio_encoder=seconds < FEW_S,
        sound_rates=SOUND_RATES if voices else (),
        rehearsal=REHEARSAL if rehearsed else 0.0,
        audio_gain=AUDIO_GAIN if voices else 1.0,
        lips_parted=True,
        sharpening=SHARPENING if gpu else 1.0,
        loss=LossWeights(lips=0.2, lip_motion=1.0 if voices else 0.5),
        lr=LearningRates(network=graded(1e-3, 2e-3)),
        densify=DensifyConfig(rounds=40 if gpu else 20),
    )
