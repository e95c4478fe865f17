"""What happens to a voice on its way into a microphone, for a whole batch at once, on any device.

In order: breath and hoarseness, room, microphone (equaliser, band limits), noise, hum and babble, recording level and
its drift, clipping, coarse quantisation. Targets stay those of the clean speech, so the network learns to hear through
all of it; in stretches without speech only the noise remains and the target is silence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from being.constants import SAMPLE_RATE

_CURVE_POINTS = 12  # of a random equaliser, equally spaced on a log frequency axis
_LOWEST_HZ = 60.0
_NOMINAL_RMS = 0.05  # a little under the level the corpus is normalised to


def augment(pcm: Tensor, generator: torch.Generator) -> Tensor:
    """pcm (B, S) float32 -> the same shape; every row gets its own accidents."""
    draw = _Draw(pcm, generator)
    speech_rms = _rms(pcm)
    rough = draw.chance(0.4) * draw.uniform(0.05, 0.6)
    x = pcm * (1.0 + rough * draw.noise())
    x = _through_room_and_microphone(x, draw)
    x = x + _background(pcm, speech_rms, draw)
    return _recorded(x, draw)


def level_only(pcm: Tensor, generator: torch.Generator) -> Tensor:
    """Only a random recording level: for evaluation."""
    draw = _Draw(pcm, generator)
    return pcm * 10.0 ** (draw.uniform(-40.0, 12.0) / 20.0)


class _Draw:
    """Random columns (B, 1) and rows, all from one generator."""

    def __init__(self, like: Tensor, generator: torch.Generator) -> None:
        self.like, self.generator = like, generator
        self.rows, self.samples = like.shape

    def uniform(self, low: float, high: float, columns: int = 1) -> Tensor:
        unit = torch.rand((self.rows, columns), device=self.like.device, generator=self.generator)
        return low + (high - low) * unit

    def chance(self, probability: float) -> Tensor:
        return (self.uniform(0.0, 1.0) < probability).to(self.like.dtype)

    def noise(self, samples: int | None = None) -> Tensor:
        shape = (self.rows, samples or self.samples)
        return torch.randn(shape, device=self.like.device, generator=self.generator)

    def curve(self, spread_db: float, bins: int) -> Tensor:
        """(B, bins) smooth random gains over the frequencies 0..8 kHz."""
        points = self.noise(_CURVE_POINTS) * spread_db
        hz = torch.linspace(0.0, SAMPLE_RATE / 2, bins, device=self.like.device).clamp_min(_LOWEST_HZ)
        at = torch.log(hz / _LOWEST_HZ) / math.log(SAMPLE_RATE / 2 / _LOWEST_HZ) * (_CURVE_POINTS - 1)
        low = at.floor().long().clamp_max(_CURVE_POINTS - 2)
        share = at - low
        return 10.0 ** ((points[:, low] * (1.0 - share) + points[:, low + 1] * share) / 20.0)


def _rms(pcm: Tensor) -> Tensor:
    """(B, 1) level of the sounding part of each row; nominal where hardly anything sounds."""
    sounding = pcm.abs() > 1e-3
    energy = (pcm**2 * sounding).sum(dim=1, keepdim=True) / sounding.sum(dim=1, keepdim=True).clamp_min(1600)
    return energy.sqrt().clamp_min(_NOMINAL_RMS)


def _through_room_and_microphone(pcm: Tensor, draw: _Draw) -> Tensor:
    """Reverberation by a synthetic room response, then a random equaliser, in one multiplication of spectra."""
    length = SAMPLE_RATE // 2  # samples of room response
    size = 1 << (draw.samples + length - 1).bit_length()
    seconds = torch.arange(length, device=pcm.device) / SAMPLE_RATE
    decay = torch.exp(-6.9 * seconds / draw.uniform(0.1, 0.6))  # -60 dB after the reverberation time
    decay = decay * (seconds > draw.uniform(0.001, 0.015))
    tail = draw.noise(length) * decay
    tail = tail / (tail**2).sum(dim=1, keepdim=True).sqrt()
    room = draw.chance(0.5) * 10.0 ** (draw.uniform(-25.0, 0.0) / 20.0) * tail
    room[:, 0] += 1.0
    response = torch.fft.rfft(room, size)

    bins = size // 2 + 1
    hz = torch.linspace(0.0, SAMPLE_RATE / 2, bins, device=pcm.device)
    octaves = torch.log2(hz.clamp_min(_LOWEST_HZ) / 1000.0)
    microphone = 1.0 + draw.chance(0.8) * (draw.curve(5.0, bins) - 1.0)
    microphone = microphone * 10.0 ** (draw.chance(0.7) * draw.uniform(-5.0, 5.0) * octaves / 20.0)
    high = torch.where(draw.chance(0.3) > 0, draw.uniform(3000.0, 7000.0), draw.uniform(7900.0, 16000.0))
    low = torch.where(draw.chance(0.3) > 0, draw.uniform(80.0, 350.0), draw.uniform(5.0, 60.0))
    microphone = microphone / torch.sqrt(1.0 + (hz / high) ** 16) / torch.sqrt(1.0 + (low / hz.clamp_min(1.0)) ** 6)
    return torch.fft.irfft(torch.fft.rfft(pcm, size) * response * microphone, size)[:, : draw.samples]


def _background(pcm: Tensor, speech_rms: Tensor, draw: _Draw) -> Tensor:
    size = 1 << (draw.samples - 1).bit_length()
    bins = size // 2 + 1
    hz = torch.linspace(0.0, SAMPLE_RATE / 2, bins, device=pcm.device).clamp_min(30.0)
    shape = draw.curve(5.0, bins) * (hz / 1000.0) ** (-draw.uniform(-0.5, 1.2))
    noise = torch.fft.irfft(torch.fft.rfft(draw.noise(), size) * shape, size)[:, : draw.samples]
    noise = noise / (noise**2).mean(dim=1, keepdim=True).sqrt()
    # Noise that comes and goes, slowly.
    swell = torch.nn.functional.interpolate(draw.noise(8)[:, None], draw.samples, mode="linear", align_corners=True)
    noise = noise * 10.0 ** (draw.chance(0.3) * 6.0 * swell[:, 0] / 20.0)
    noise_level = draw.chance(0.85) * 10.0 ** (-draw.uniform(8.0, 60.0) / 20.0)

    seconds = torch.arange(draw.samples, device=pcm.device) / SAMPLE_RATE
    mains = torch.where(draw.chance(0.5) > 0, 50.0, 60.0)
    hum = sum(torch.sin(2.0 * math.pi * k * mains * seconds + draw.uniform(0.0, 6.28)) / k for k in (1, 2, 3, 5))
    hum_level = draw.chance(0.15) * 10.0 ** (-draw.uniform(10.0, 40.0) / 20.0)

    babble = sum(pcm.roll(k + 1, 0).roll(4000 * k, 1) for k in range(5)) / math.sqrt(5.0)
    babble_level = draw.chance(0.15) * 10.0 ** (-draw.uniform(8.0, 30.0) / 20.0)
    return speech_rms * (noise_level * noise + hum_level * hum) + babble_level * babble


def _recorded(pcm: Tensor, draw: _Draw) -> Tensor:
    drift = torch.nn.functional.interpolate(draw.noise(5)[:, None], draw.samples, mode="linear", align_corners=True)
    x = pcm * 10.0 ** (draw.chance(0.4) * 3.0 * drift[:, 0] / 20.0)
    x = x * 10.0 ** (draw.uniform(-38.0, 14.0) / 20.0)
    ceiling = torch.where(draw.chance(0.1) > 0, draw.uniform(0.15, 0.6) * x.abs().amax(1, keepdim=True), 1.0)
    x = x.clamp(-ceiling, ceiling)
    # Quantisation: 16 bits always; companded to 8 bits (mu-law, as telephones do) now and then.
    mu = 255.0
    companded = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
    coarse = torch.round(companded * 127.0) / 127.0
    coarse = torch.sign(coarse) * (torch.expm1(coarse.abs() * math.log1p(mu))) / mu
    return torch.where(draw.chance(0.08) > 0, coarse, torch.round(x * 32768.0) / 32768.0)
