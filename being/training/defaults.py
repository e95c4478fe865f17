"""What to train with where nobody said: by how much footage there is and by what will do the work."""

from __future__ import annotations

from being.dataset import Dataset
from being.training.config import DensifyConfig, FitConfig, LearningRates, LossWeights

SHORT = 1000  # frames (40 s); less than that is "seconds of footage"
GPU_MINUTES, CPU_MINUTES = 8.0, 30.0
PIXELS_EACH = 12  # of the picture for each Gaussian
FEWEST, MOST_CPU, MOST_GPU = 500, 8_000, 20_000  # Gaussians


def on_gpu(device: str) -> bool:
    """Whether `device` ("auto", "cpu", "cuda:1") means a GPU here."""
    import torch

    return torch.cuda.is_available() if device == "auto" else device.startswith("cuda")


def default_minutes(device: str) -> float:
    """Minutes of training that give a presentable avatar (GPU) or a rough one (CPU)."""
    return GPU_MINUTES if on_gpu(device) else CPU_MINUTES


def config_for(dataset: Dataset, device: str, minutes: float) -> FitConfig:
    """The training configuration of `being clone`.

    Seconds of footage are easily overfitted: the network is then trained with more feature noise, a lower learning rate
    and dropout, starts from the demo's weights, and its audio encoder is frozen. A small picture has no use for many
    Gaussians; a CPU draws fewer, few frames at a time.
    """
    short = dataset.frames < SHORT
    gpu = on_gpu(device)
    most = MOST_GPU if gpu else MOST_CPU
    count = min(max(dataset.width * dataset.height // PIXELS_EACH, FEWEST), most)
    return FitConfig(
        minutes=minutes,
        device=device,
        batch=8 if gpu else 2,
        gaussians=count,
        initial_gaussians=round(0.7 * count),
        static_minutes_share=0.25 if short else 0.2,
        feature_noise=0.4 if short else 0.05,
        dropout=0.15 if short else 0.0,
        camera_noise=0.05 if short else 0.02,
        pretrained_parts="network" if short else "audio_encoder",
        freeze_audio_encoder=short,
        loss=LossWeights(lips=0.2),
        lr=LearningRates(network=1e-3 if short else 2e-3),
        densify=DensifyConfig(rounds=40 if gpu else 20),
    )
