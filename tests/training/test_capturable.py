"""What a captured step launches can be captured, tried without a GPU: the step is moved to PyTorch's `meta` device.

There tensors have shapes and no numbers, as for a host that describes a graph: whoever must know a number, or a shape
that depends on one, fails by himself. What would be copied from the host, and what only a look at the Python shows
(indices in a list become a tensor of the host), two modes refuse.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from being.dataset import Dataset
from being.progress import Silent
from being.synthetic import generate
from being.training.captured import CapturedStep, Following, Learning, Pass, Scene
from being.training.config import FitConfig, LossWeights
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.fit import begin
from being.training.loop import Stop, Trainer
from being.training.loss.perceptual import Perceptual
from being.training.model.drawing import Posed, RenderSettings
from being.training.schedule import NETWORK, STATIC, Stage

THERE = torch.device("meta")
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal.default")
FROM_HOST = ("tensor", "as_tensor", "asarray", "from_numpy", "new_tensor")
TO_HOST = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")


class CannotBeCapturedError(Exception):
    """A step asked for what a capture cannot give."""


def of_the_host(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.device != THERE]


def indices(key: object) -> list[object]:
    return list(key) if isinstance(key, tuple) else [key]


class RefusedCalls(TorchFunctionMode):
    """Calls that make tensors of Python's numbers, or the other way round."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in FROM_HOST or name in TO_HOST:
            raise CannotBeCapturedError(f"{name} {args}")
        if name in ("__getitem__", "__setitem__"):
            for index in indices(args[1]):
                mask = isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
                if mask or isinstance(index, list | range | np.ndarray):
                    raise CannotBeCapturedError(f"index {index}")
        return func(*args, **(kwargs or {}))


class RefusedOperations(TorchDispatchMode):
    """Operations that wait for the GPU or take or give a tensor of the host; those of the gradients too."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        self.names.append(name)
        if name.startswith(WAITS) or of_the_host((args, kwargs)):
            raise CannotBeCapturedError(f"{name} {args}")
        if name == "_fused_adam_.tensor_lr":  # `meta` lacks it; this is what it asks for on a GPU
            for together in zip(*args[:4], strict=True):
                if len({(part.dtype, part.shape, part.stride()) for part in together}) > 1:
                    raise CannotBeCapturedError(f"{name}: laid out unlike each other")
            return None
        found = func(*args, **(kwargs or {}))
        if of_the_host(found):
            raise CannotBeCapturedError(f"{name} makes a tensor of the host")
        return found


class Leaving(pickle.Pickler):
    """Everything but tensors, devices and generators, which it lists."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.left: dict[int, Any] = {}

    def persistent_id(self, thing: Any) -> int | None:
        if isinstance(thing, Tensor | torch.device | torch.Generator):
            self.left[id(thing)] = thing
            return id(thing)
        return None


class Arriving(pickle.Unpickler):
    """The same on another device; a tensor that two knew both know again."""

    def __init__(self, file: io.BytesIO, left: dict[int, Any]) -> None:
        super().__init__(file)
        self.left = left
        self.there: dict[int, Any] = {}

    def persistent_load(self, which: int) -> Any:
        if which not in self.there:
            thing = self.left[which]
            if isinstance(thing, Tensor):
                moved = torch.empty_strided(thing.shape, thing.stride(), dtype=thing.dtype, device=THERE)
                parameter = isinstance(thing, nn.Parameter)
                thing = nn.Parameter(moved, thing.requires_grad) if parameter else moved
            self.there[which] = THERE if isinstance(thing, torch.device) else thing
        return self.there[which]


def moved(step: CapturedStep) -> CapturedStep:
    """The same step on `meta`, its optimizers as they are on a GPU."""
    file = io.BytesIO()
    leaving = Leaving(file)
    leaving.dump(step)
    file.seek(0)
    there: CapturedStep = Arriving(file, leaving.left).load()
    run = there._scene.run
    for optimizer in (run.gaussians.optimizer, run.network_optimizer, run.corrections.optimizer):
        for group in optimizer.param_groups:
            group.update(fused=True, capturable=True, foreach=False)
    return there


def described(segment: Callable[[], None]) -> list[str]:
    """The operations of a segment that can be captured."""
    operations = RefusedOperations()
    with operations, RefusedCalls():
        segment()
    return operations.names


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    state = {f"features.{n}.weight": torch.randn(*s, 3, 3) * 0.05 for n, s in shapes.items()}
    state |= {f"features.{n}.bias": torch.zeros(s[0]) for n, s in shapes.items()}
    save_file(state, file := tmp_path_factory.mktemp("vgg") / "vgg.safetensors")
    return file


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory, vgg: Path) -> CapturedStep:
    """A step with everything that can be asked of one, after plain ones in both stages."""
    config = FitConfig(
        device="cpu", batch=2, initial_gaussians=300, gaussians=400, feature_noise=0.3, dropout=0.1,
        sound_rates=(0.9,), lips_parted=True, lip_quantile=0.6, loss=LossWeights(lip_motion=0.3), sharpening=1.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("hand") / "person"
    data = Dataset(generate(folder, seconds=1.0, seed=3, size=(64, 64), camera="hand", workers=2))
    speech = listen(data, config, tmp_path_factory.mktemp("work"))
    device = torch.device("cpu")
    footage = Footage(data, speech.contexts, config, device, quiet=speech.quiet, voices=speech.voices)
    assert footage.has_mattes
    run = begin(footage, data, speech, config)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    trainer = Trainer(run, footage, settings, config, Perceptual(vgg), Silent(), lambda: None, Stop())
    for stage in (STATIC, NETWORK):
        trainer.train_stage(Stage(stage, 1))
        run.position = type(run.position)(stage=run.position.stage + 1)
    return CapturedStep(Scene(run, footage, settings, config, trainer.perceptual, trainer.motion))


@pytest.mark.parametrize("stage", [STATIC, NETWORK])
def test_every_segment_of_a_step_can_be_captured(step: CapturedStep, stage: str) -> None:
    there = moved(step)
    there._scene.with_network = stage == NETWORK
    passes: list[Pass] = [there._learning]
    assert there._following is not None
    passes.append(there._following)
    for part in passes:  # constants are made by the plain steps that come first
        part.make_batch()
        part.pose()
    names = []
    for part in passes:
        for segment in (part.make_batch, part.pose, part.cost):
            names += described(segment)
        part.leaf_slopes = [torch.zeros_like(leaf) for leaf in part.leaves]  # the rasterizer's, which is not captured
        part.probe_slope = torch.zeros(len(part.leaves[0]), 2, device=THERE)
        part.radii = torch.zeros(len(part.leaves[0]), device=THERE)
        names += described(part.back)
    names += described(there._change)
    assert len(names) > 1500 and names.count("_fused_adam_.tensor_lr") == (10 if stage == STATIC else 13)
    assert ("grid_sampler_2d.default" in names) == (stage == NETWORK)


def test_what_a_capture_cannot_give_is_refused() -> None:
    x, mask = torch.zeros(4, 3, device=THERE), torch.zeros(4, dtype=torch.bool, device=THERE)
    learned = torch.zeros(4, 3, device=THERE, requires_grad=True)
    wrong: dict[str, Callable[[], object]] = {
        "indices in a list": lambda: x[:, [0, 1]],
        "indices of numpy": lambda: x[np.array([0, 2])],
        "a mask": lambda: x[mask],
        "a number": lambda: x.sum().item(),
        "a branch": lambda: 1 if x.sum() > 0 else 0,
        "where it is not zero": lambda: x.nonzero(),
        "a list of numbers": lambda: x + torch.tensor([1.0, 2.0, 3.0], device=THERE),
        "a tensor of the host": lambda: x + torch.ones(3),
        "a copy to it": lambda: x.copy_(torch.ones(4, 3)),
        "a copy from it": lambda: x.to("cpu"),
    }
    for name, segment in wrong.items():
        with pytest.raises((CannotBeCapturedError, NotImplementedError, RuntimeError)):
            described(lambda segment=segment: segment())  # type: ignore[misc]
            pytest.fail(name)
    assert described(lambda: (learned * x).sum().backward())


def test_no_history_outlives_a_step(step: CapturedStep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept, it would tie parameters to the stream of the capture, and plain steps would find them tied."""
    footage, run, batch = step._scene.footage, step._scene.run, step._scene.config.batch
    lots = footage.lots(batch, torch.Generator().manual_seed(0))

    def history(parameter: Tensor) -> dict[Any, Any]:
        node: Any = torch.autograd.graph.get_gradient_edge(parameter).node
        return node.metadata

    def learned() -> list[Tensor]:
        return [parameter for parameter in run.parameters() if parameter.requires_grad]

    marked = 0

    def marking(penalize: Callable[[Any, Posed], None]) -> Callable[[Any, Posed], None]:
        def penalize_and_mark(self: Any, posed: Posed) -> None:
            nonlocal marked
            penalize(self, posed)
            for parameter in learned():
                history(parameter)["of a step"] = True
            marked += len([parameter for parameter in learned() if history(parameter)])

        return penalize_and_mark

    for kind in (Learning, Following):
        monkeypatch.setattr(kind, "penalize", marking(kind.penalize))
    for stage in (STATIC, NETWORK):
        step(stage, lots, list(footage.held_out.all[:batch]), (0.1, 0.1, 0.1))
        assert not [parameter.shape for parameter in learned() if history(parameter)]
    assert marked > 50
