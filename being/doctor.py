"""What works on this machine: every part is tried for real, and what does not work comes with its remedy."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from being.errors import BeingError
from being.extras import install_command
from being.processors import usable_processors

MPS_CONTROL = "nvidia-cuda-mps-control"
CPU_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True)
class Finding:
    """One part, tried.

    required: whether `being render` needs it. works: whether it did. detail: what was seen, one line. remedy: what to
    do where it did not work.
    """

    name: str
    purpose: str
    required: bool
    works: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A part to try: `attempt` returns what it saw or raises; `remedy` is for errors that bring none of their own."""

    name: str
    purpose: str
    attempt: Callable[[], str]
    remedy: str
    required: bool = True

    def run(self) -> Finding:
        """Try it. Never raises but for interruptions."""
        try:
            return Finding(self.name, self.purpose, self.required, True, self.attempt())
        except BeingError as error:
            return self._failed(error.problem, error.remedy or self.remedy)
        except ImportError as error:
            return self._failed(f"{error.name or error} is not installed", self.remedy)
        except Exception as error:  # whatever a broken installation throws is a finding
            text = " ".join(str(error).split())
            return self._failed(f"{type(error).__name__}: {text}", self.remedy)

    def _failed(self, detail: str, remedy: str) -> Finding:
        return Finding(self.name, self.purpose, self.required, False, detail, remedy)


def examine() -> Iterator[Finding]:
    """Try all parts, one after the other, each as it is asked for."""
    for check in checks():
        yield check.run()


def checks() -> list[Check]:
    """Every part of Being: first what `being render` needs, then what single features need."""
    reinstall = "Install Being again in a fresh environment, in its checkout: pip install --force-reinstall ."
    wheel = "Install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
    return [
        Check("python", "the ground", _python, "Use Python 3.11 or newer"),
        Check("torch", "the network", _torch, f"Install it: {CPU_TORCH}"),
        Check("numba", "drawing on the CPU", _numba, "Install it again: pip install --force-reinstall numba"),
        Check("H.264 + AAC", "MP4 files", _mp4, wheel),
        Check("VP9 + Opus", "WebM with transparency", _webm, wheel),
        Check("phones", "hearing speech", _phones, reinstall),
        Check("demo avatar", "the face that comes along", _demo, reinstall),
        _optional("CUDA + gsplat", "drawing and training on a GPU", _cuda, install_command("gpu")),
        _optional("Triton", "the kernels that make a GPU fast", _triton, "apt-get install gcc libc6-dev python3-dev"),
        _optional("NVIDIA MPS", "several renderers on one GPU", _mps, "It comes with NVIDIA's driver, on Linux"),
        _optional("espeak-ng", "the synthetic person's voice", _espeak, "apt-get install espeak-ng"),
        _optional("mediapipe", "cloning from video", _mediapipe, install_command("clone")),
        _optional("transformers", "wav2vec2 features", _transformers, install_command("speech")),
        _optional("diffusers", "the refiner streamdiffusion", _diffusers, install_command("refine")),
        _optional("ray", "serving", _ray, reinstall),
        _optional("ray train", "training on clusters", _ray_train, install_command("train")),
    ]


def _optional(name: str, purpose: str, attempt: Callable[[], str], remedy: str) -> Check:
    return Check(name, purpose, attempt, remedy, required=False)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {usable_processors()} processors"


def _torch() -> str:
    import torch

    product = torch.ones(8, 8) @ torch.ones(8, 8)
    if float(product[0, 0]) != 8:
        raise RuntimeError("a matrix product came out wrong")
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _numba() -> str:
    import numba

    worst = _backend_error("numba", "cpu")
    return f"{numba.__version__}, kernels compile and draw within {worst:.0e} of the reference"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise BeingError("no CUDA device is visible to torch", "None needed: the CPU is used instead")
    worst = _backend_error("gsplat", "cuda")
    return f"{torch.cuda.get_device_name()}, gsplat draws within {worst:.0e} of the reference"


def _triton() -> str:
    import torch

    if not torch.cuda.is_available():
        raise BeingError("no CUDA device is visible to torch", "None needed: the CPU is used instead")
    version = _version("triton")
    from being.inference.backends.gpu_planes import try_out

    try_out(torch.device("cuda", torch.cuda.current_device()))
    return f"{version}, kernels compile and run"


def _mps() -> str:
    if shutil.which(MPS_CONTROL) is None:
        raise BeingError(f"{MPS_CONTROL} is not found")
    return f"{MPS_CONTROL} is there"


def _backend_error(backend: str, device: str) -> float:
    """Draw a handful of splats; the largest difference to the reference, which must be small."""
    import torch

    from being.raster import Cameras, Splats, rasterize

    generator = torch.Generator().manual_seed(0)
    count = 20
    means = torch.randn(count, 3, generator=generator) * 0.3 + torch.tensor([0.0, 0.0, 4.0])
    splats = Splats(
        means=means.to(device),
        quats=torch.randn(count, 4, generator=generator).to(device),
        scales=torch.full((count, 3), 0.1, device=device),
        opacities=torch.full((count,), 0.7, device=device),
        colors=torch.rand(count, 3, generator=generator).to(device),
        offsets=(0, count),
    )
    intrinsics = torch.tensor([[60.0, 60.0, 16.0, 16.0]], device=device)
    cameras = Cameras(torch.eye(3, 4, device=device)[None], intrinsics, 32, 32)
    drawn = rasterize(splats, cameras, backend=backend).rgb
    truth = rasterize(splats, cameras, backend="reference").rgb
    worst = float((drawn - truth).abs().max())
    if not worst < 0.02:
        raise RuntimeError(f"a picture differs from the reference by {worst:.2g}")
    return worst


def _mp4() -> str:
    return _write_and_read("clip.mp4", alpha=False)


def _webm() -> str:
    return _write_and_read("clip.webm", alpha=True)


def _write_and_read(name: str, *, alpha: bool) -> str:
    """Encode a few frames with sound, decode them again."""
    import av

    from being.media import StreamFormat, open_writer

    picture = np.full((64, 64, 4 if alpha else 3), 128, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        with open_writer(path, StreamFormat(64, 64), alpha=alpha) as writer:
            for index in range(5):
                writer.write_frame(picture, index)
                writer.write_sound(np.zeros(1920, np.float32))
        with av.open(str(path)) as container:
            streams = [stream.codec_context.name for stream in container.streams]
            frames = sum(1 for _ in container.decode(video=0))
    if frames != 5:
        raise RuntimeError(f"{frames} of 5 frames came back")
    return f"PyAV {av.__version__} writes and reads {' and '.join(streams)}"


def _phones() -> str:
    from being.audio.extractors import load_extractor
    from being.audio.features import FeatureSpec

    extractor = load_extractor(FeatureSpec(name="phones"))
    steps = extractor(np.zeros(16_000, np.float32))
    if not np.isfinite(steps).all():
        raise RuntimeError("its answer to silence is not finite")
    return f"{steps.shape[1]} features at 50 Hz, {extractor.right_context / 16:.0f} ms of right context"


def _demo() -> str:
    import asyncio

    from being.avatar.library import PACKAGED, Library
    from being.graph.local import InProcessGraph
    from being.graph.offline import warm_up
    from being.inference.engine import Engine
    from being.live.requests import OutputFormat

    graph = InProcessGraph(Engine(Library([PACKAGED]), device="cpu"))

    async def draw() -> str:
        facts = await graph.prepare("demo")
        await warm_up(graph, facts, OutputFormat(facts.width, facts.height))
        return (
            f"loads and draws, {facts.width}x{facts.height}, look-ahead {1000 * facts.audio_range.look_ahead_s:.0f} ms"
        )

    try:
        return asyncio.run(draw())
    finally:
        graph.close()


def _espeak() -> str:
    from being.audio import espeak

    if not espeak.available():
        raise BeingError("libespeak-ng is not found")
    return f"{len(espeak.voices())} voices"


def _mediapipe() -> str:
    version = _version("mediapipe")
    from mediapipe.python.solutions.face_mesh import FaceMesh

    with _silent_stderr(), FaceMesh(static_image_mode=True) as mesh:
        mesh.process(np.zeros((64, 64, 3), np.uint8))
    return f"{version}, the face mesh runs"


def _transformers() -> str:
    version = _version("transformers")
    from transformers import Wav2Vec2ForCTC

    return f"{version}, {Wav2Vec2ForCTC.__name__} is there"


def _diffusers() -> str:
    version = _version("diffusers")
    from transformers import CLIPTextModel

    return f"{version}, {CLIPTextModel.__name__} is there"


def _ray() -> str:
    version = _version("ray")
    importlib.import_module("ray.serve")
    return f"{version} with Serve"


def _ray_train() -> str:
    version = _version("pyarrow")
    importlib.import_module("ray.train.torch")
    return f"with pyarrow {version}"


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Native libraries that chat on file descriptor 2 are not heard."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _version(package: str) -> str:
    return str(getattr(importlib.import_module(package), "__version__", "of unknown version"))
