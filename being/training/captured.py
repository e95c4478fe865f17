"""A training step as CUDA graphs: the host describes the step once, the GPU runs it thousands of times.

A step is some two thousand launches, which take the host longer than they take the GPU. Captured, they are five replays
and the rasterizer between them, which must wait for the number of pairs of tile and splat. The plain twin is
`Trainer.learn`, `follow`, `add_up` and `update`; on a CPU a segment runs its body anew, which tests hold against them.

    batch -> splats | rasterizer | loss and its gradient in the picture | rasterizer's backward | gradients -> update

Graphs keep addresses: everything that passes from one segment to the next stays where it is. What depends on the number
of Gaussians is captured anew after each densification (about a tenth of a second), the rest once a run. The two have
memory of their own: that of the former is given back before it is captured anew, as tensors of a few more Gaussians
fit into no place that the last ones left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from being.raster import Raster, Splats, rasterize
from being.training.config import FitConfig
from being.training.data.footage import Batch, Footage, Lots
from being.training.data.frame_store import Pixels
from being.training.loss.losses import box_mask, masked_mean, picture_loss, psnr
from being.training.loss.perceptual import Perceptual
from being.training.model.densify import ScreenGradients
from being.training.model.drawing import Posed, RenderSettings, before_background, cameras_of, splats_of
from being.training.model.face_motion import FaceMotion
from being.training.run import TrainingRun
from being.training.schedule import NETWORK

PARTS = ("means", "quats", "scales", "opacities", "colors")  # of splats, as the rasterizer takes them


class GraphMemory:
    """GPU memory of graphs that are replayed in the order of their capture, and the stream they are captured on.

    Without a GPU (`device` a CPU's) segments are not captured.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream | None = None) -> None:
        self.captures = device.type == "cuda"
        if self.captures:
            self._device, self._stream = device, stream or torch.cuda.Stream(device)
            self._begin()

    def _begin(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._keeper = self.capture(lambda: torch.zeros(1, device=self._device))  # the pool dies with its last graph

    def renew(self) -> None:
        """Give all of it back and begin anew. The caller has let go of the graphs and of every tensor made in them."""
        if self.captures:
            del self._keeper
            torch.cuda.empty_cache()
            self._begin()

    def capture(self, body: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """The launches of `body`, not run."""
        graph, now = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                body()
            finally:
                graph.capture_end()
        now.wait_stream(self._stream)
        return graph


class Segment:
    """A part of a step: captured when first called, replayed from then on."""

    def __init__(self, body: Callable[[], None], memory: GraphMemory) -> None:
        self._body, self._memory = body, memory
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run it."""
        if not self._memory.captures:
            self._body()
            return
        if self._graph is None:
            self._graph = self._memory.capture(self._body)
        self._graph.replay()


class Inputs:
    """Numbers that the host gives to each step: one copy, from memory that the GPU reads by itself."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], device: torch.device) -> None:
        sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        self._host = torch.zeros(sum(sizes), pin_memory=device.type == "cuda")
        self._there = torch.zeros(sum(sizes), device=device)
        self._names = dict(zip(shapes, self._host.split(sizes), strict=True))
        parts = zip(shapes.items(), self._there.split(sizes), strict=True)
        self.values = {name: part.reshape(shape) for (name, shape), part in parts}

    def put(self, values: dict[str, Tensor]) -> None:
        """Hand over. Every step waits for the GPU once, in the rasterizer: the last numbers have arrived by then."""
        for name, value in values.items():
            self._names[name].copy_(value.reshape(-1))
        self._there.copy_(self._host, non_blocking=True)


class Scene:
    """What both passes of a step draw with."""

    def __init__(
        self,
        run: TrainingRun,
        footage: Footage,
        settings: RenderSettings,
        config: FitConfig,
        perceptual: Perceptual | None,
        motion: FaceMotion,
    ) -> None:
        self.run, self.footage, self.settings = run, footage, settings
        self.config, self.perceptual, self.motion = config, perceptual, motion
        stream = torch.cuda.Stream(footage.device) if footage.device.type == "cuda" else None
        self.lasting, self.passing = (GraphMemory(footage.device, stream) for _ in range(2))
        self.with_network = False


class Pass(ABC):
    """A batch's way through a step, in segments around the rasterizer; what it costs is a subclass's.

    Its attributes are what passes from segment to segment: captured, they keep their addresses.
    """

    learning = False
    batch: Batch
    outputs: list[Tensor]
    leaves: list[Tensor]
    leaf_slopes: list[Tensor]
    penalty: Tensor
    drawn: Raster
    probe: Tensor

    def __init__(self, scene: Scene, frames: int) -> None:
        self.scene, self.frames = scene, frames
        size = (frames, scene.footage.height, scene.footage.width)
        device = scene.footage.device
        self.picture = [torch.zeros((*size, 3), device=device), torch.zeros(size, device=device)]
        self.pixels: Pixels | None = None  # of the batch, where they are not on the device anyway
        self.slopes: list[Tensor] = []
        self._batch, self._cost = Segment(self.make_batch, scene.lasting), Segment(self.cost, scene.lasting)
        self.rebind()

    def rebind(self) -> None:
        """Another number of Gaussians, or another stage: what depends on it is let go of, to be captured anew."""
        self._pose, self._back = Segment(self.pose, self.scene.passing), Segment(self.back, self.scene.passing)
        self.outputs, self.leaves, self.leaf_slopes = [], [], []
        self.penalty = self.probe_slope = self.radii = torch.zeros(0)

    def __call__(self, frames: Tensor) -> None:
        """Draw frames (B,), and take the gradients."""
        if not self.scene.footage.resident:
            fetched = self.scene.footage.pixels(frames)
            if self.pixels is None:
                self.pixels = Pixels(*(part.clone() for part in fetched))
            for kept, part in zip(self.pixels, fetched, strict=True):
                kept.copy_(part)
        self._batch()
        self._pose()
        self.draw()
        self._cost()
        self.draw_back()
        self._back()

    @abstractmethod
    def make_batch(self) -> None:
        """Set `batch` from the inputs."""

    @abstractmethod
    def cost(self) -> None:
        """Set `slopes`: the cost's gradients in `picture`."""

    @abstractmethod
    def back(self) -> None:
        """Give the gradients of `splats` to what is learned."""

    def pose(self) -> None:
        """Set `outputs`, the splats to come back to, and `leaves`: the same numbers without history."""
        run, settings = self.scene.run, self.scene.settings
        network = run.network if self.scene.with_network else None
        run.network.train(self.learning)
        points = self.scene.motion.points if self.learning else None
        posed = splats_of(run.gaussians.gaussians(), network, self.batch, settings, run.corrections, points)
        run.network.eval()
        self.outputs, self.offsets = [getattr(posed.splats, name) for name in PARTS], posed.splats.offsets
        self.leaves = [part.detach().requires_grad_() for part in self.outputs]
        self.penalize(posed)

    def penalize(self, posed: Posed) -> None:  # noqa: B027 - nothing, unless a pass has something to add
        """Set `penalty`: what costs without being seen."""

    def draw(self) -> None:
        """Rasterize, into `picture`."""
        probe = torch.zeros(len(self.leaves[0]), 2, device=self.scene.footage.device, requires_grad=True)
        splats = Splats(**dict(zip(PARTS, self.leaves, strict=True)), offsets=self.offsets)
        settings = self.scene.settings
        cameras = cameras_of(settings, self.frames)
        self.drawn = rasterize(splats, cameras, probe=probe, backend=settings.backend, absolute=settings.absolute)
        self.probe = probe
        with torch.no_grad():
            self.picture[0].copy_(self.drawn.rgb)
            self.picture[1].copy_(self.drawn.alpha)

    def draw_back(self) -> None:
        """Gradients of the splats, into `leaf_slopes` and `probe_slope`."""
        inside = [*self.leaves, self.probe]
        found = torch.autograd.grad([self.drawn.rgb, self.drawn.alpha], inside, self.slopes)
        if not self.leaf_slopes:
            self.leaf_slopes = [torch.zeros_like(leaf) for leaf in self.leaves]
            self.probe_slope, self.radii = torch.zeros_like(self.probe), torch.zeros_like(self.drawn.radii)
        targets = [*self.leaf_slopes, self.probe_slope, self.radii]
        torch._foreach_copy_(targets, [*found, self.drawn.radii])  # type: ignore[attr-defined]
        del self.drawn, self.probe

    def gradients(self, parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Of what is learned, from those of the splats and of the penalty. Their history is let go of.

        It belongs to the stream of the capture; a later plain step would find parameters still tied to that.
        """
        outputs, self.outputs = self.outputs, []
        slopes = list(self.leaf_slopes)
        if self.penalty.requires_grad:
            outputs.append(self.penalty)
            slopes.append(torch.ones_like(self.penalty))
            self.penalty = self.penalty.detach()
        return list(torch.autograd.grad(outputs, parameters, slopes, allow_unused=True))


class Learning(Pass):
    """The frames that are learned from."""

    learning = True

    def __init__(self, scene: Scene, inputs: Inputs) -> None:
        self.inputs = inputs
        self.numbers: dict[str, Tensor] = {}
        self.learned: dict[Tensor, Tensor | None] = {}  # what `update` reads stays, whoever lets go of it
        super().__init__(scene, scene.config.batch)

    def rebind(self) -> None:
        super().rebind()
        self.learned.clear()
        self.penalties: dict[str, Tensor] = {}

    def make_batch(self) -> None:
        values = self.inputs.values
        whole = {name: values[name].long() for name in ("frames", "voice", "rehearsed")}
        real = {name: values[name] for name in ("noise", "shake", "twitch", "patches")}
        self.batch = self.scene.footage.disturbed(Lots(**whole, **real), self.pixels)

    def penalize(self, posed: Posed) -> None:
        weights, corrections = self.scene.config.loss, self.scene.run.corrections
        parts: dict[str, Tensor] = {}
        if weights.offsets and posed.offsets is not None:
            parts["offsets"] = weights.offsets * posed.offsets.xyz.abs().mean()
        if weights.corrections:
            parts["corrections"] = weights.corrections * corrections.cost()
        if posed.moved is not None:
            parts |= self.scene.motion.costs(posed.moved, self.batch)
        self.penalty = sum(parts.values(), self.leaves[0].new_zeros(()))
        self.penalties = {name: part.detach() for name, part in parts.items()}

    def cost(self) -> None:
        batch, corrections = self.batch, self.scene.run.corrections
        drawn, alpha = (part.detach().requires_grad_() for part in self.picture)
        rgb = before_background(drawn, alpha, batch, corrections)
        windows = batch.face, self.scene.footage.face_side
        taught = self.scene.run.sharpening.taught(batch.truth, batch.alpha, *windows)
        loss = picture_loss(
            rgb, alpha, taught, batch.mask, batch.lips, batch.eyes, self.scene.config.loss,
            perceptual=self.scene.perceptual, teeth=batch.teeth, matte=batch.alpha,
            faces=windows,
        )  # fmt: skip
        learned = [corrections.exposure] if corrections.exposure.requires_grad else []
        self.slopes = list(torch.autograd.grad(loss.total, [drawn, alpha, *learned]))
        self.exposure_slope = self.slopes.pop() if learned else None
        seen = psnr(rgb.detach(), batch.truth, batch.mask).mean()
        self.numbers = {"loss": loss.total, "psnr": seen, **loss.parts}
        self.numbers = {name: number.detach() for name, number in self.numbers.items()}

    def back(self) -> None:
        run = self.scene.run
        network = [p for group in run.network_optimizer.param_groups for p in group["params"]]
        corrections = [p for p in run.corrections.parameters() if p.requires_grad]
        learned: list[Tensor] = [*run.gaussians.values.values(), *corrections]
        learned += network if self.scene.with_network else []
        self.learned.clear()
        for parameter, slope in zip(learned, self.gradients(learned), strict=True):
            if parameter is run.corrections.exposure and self.exposure_slope is not None:
                slope = self.exposure_slope if slope is None else slope + self.exposure_slope
            if slope is not None:  # the fused optimizer takes for granted that both are laid out alike
                slope = torch.empty_like(parameter).copy_(slope)
            parameter.grad = self.learned[parameter] = slope
        run.gradients.add(ScreenGradients.of(self.probe_slope, self.radii, self.frames))


class Following(Pass):
    """Held-out frames, whose poses follow their pictures: see `Trainer.follow`."""

    def __init__(self, scene: Scene, inputs: Inputs, frames: int, beside: Learning) -> None:
        self.inputs, self.beside = inputs, beside
        super().__init__(scene, frames)

    def make_batch(self) -> None:
        self.batch = self.scene.footage.batch(self.inputs.values["held_out"].long(), self.pixels)

    def penalize(self, posed: Posed) -> None:
        self.penalty = self.leaves[0].new_zeros(())

    def cost(self) -> None:
        batch = self.batch
        drawn, alpha = (part.detach().requires_grad_() for part in self.picture)
        rgb = before_background(drawn, alpha, batch, self.scene.run.corrections)
        outside = 1 - box_mask(batch.lips[:, None], *batch.mask.shape[1:])
        cost = masked_mean((rgb - batch.truth).abs().mean(-1), outside)
        self.slopes = list(torch.autograd.grad(cost, [drawn, alpha]))

    def back(self) -> None:
        poses: list[nn.Parameter] = self.scene.run.corrections.poses
        for pose, slope in zip(poses, self.gradients(poses), strict=True):
            total = self.beside.learned[pose]
            assert total is not None and slope is not None
            total += slope


class CapturedStep:
    """The steps of a run. Between a first few plain ones (they make the optimizers' moments) and the stage's end."""

    def __init__(self, scene: Scene) -> None:
        self._scene, config, footage = scene, scene.config, scene.footage
        held = min(config.batch, len(footage.held_out.all)) if "head" in scene.run.corrections.rates else 0
        lots = footage.lots(config.batch, torch.Generator())
        shapes = {name: tuple(value.shape) for name, value in vars(lots).items()}
        self._inputs = Inputs({**shapes, "held_out": (held,), "rates": (3,)}, footage.device)
        self._learning = Learning(scene, self._inputs)
        self._following = Following(scene, self._inputs, held, self._learning) if held else None
        self._update = Segment(self._change, scene.passing)
        self._bound: tuple[str, int] | None = None

    def __call__(
        self, stage: str, lots: Lots, held_out: Sequence[int] | None, rates: Sequence[float]
    ) -> dict[str, Tensor]:
        """One step. Numbers for the curves, that stand until the next one.

        held_out : frames whose poses follow, or None. rates : factors on the rates of corrections, network, Gaussians.
        """
        bound = stage, self._scene.run.position.rounds
        if bound != self._bound:
            self._scene.with_network, self._bound = stage == NETWORK, bound
            self._learning.rebind()
            if self._following is not None:
                self._following.rebind()
            self._update = Segment(self._change, self._scene.passing)
            self._scene.passing.renew()
        values = {**vars(lots), "rates": torch.tensor(rates)}
        if held_out is not None:
            values["held_out"] = torch.tensor(held_out)
        self._inputs.put(values)
        self._learning(lots.frames)
        if held_out is not None and self._following is not None:
            self._following(torch.tensor(held_out))
        self._update()
        return {**self._learning.numbers, **self._learning.penalties}

    @property
    def learned(self) -> dict[Tensor, Tensor | None]:
        """Gradients of the last step by parameter."""
        return self._learning.learned

    def _change(self) -> None:
        run, (corrections, network, gaussians) = self._scene.run, self._inputs.values["rates"].unbind()
        run.corrections.step(corrections)
        if self._scene.with_network:
            run.step_network(network)
        run.gaussians.step(gaussians)
