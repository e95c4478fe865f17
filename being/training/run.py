"""A training run as it stands: what is learned, the optimizers, the random generator, the position, the curves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from being.errors import FormatError
from being.model import DeformationNetwork
from being.training.config import FitConfig
from being.training.loss.sharpening import TargetSharpening
from being.training.model.corrections import FrameCorrections
from being.training.model.densify import ScreenGradients
from being.training.model.parameters import GaussianParameters, adam, adam_state, load_adam_state
from being.training.model.pretrained import AUDIO_ENCODER


@dataclass
class Position:
    """Where the run is: stage index, steps and seconds within the stage, densification rounds done in it."""

    stage: int = 0
    step: int = 0
    elapsed: float = 0.0
    rounds: int = 0


@dataclass
class TrainingRun:
    """All that changes while training; `state` and `load_state` are inverse to each other.

    Attributes
    ----------
    gaussians, network, network_optimizer, corrections : what is learned. generator : CPU random numbers.
    gradients : screen gradients since the last densification. sharpening : of what is taught.
    history : points of the curves (JSON numbers). seconds : time spent by part of the run.
    """

    gaussians: GaussianParameters
    network: DeformationNetwork
    network_optimizer: torch.optim.Adam
    network_rates: dict[str, float]
    corrections: FrameCorrections
    generator: torch.Generator
    gradients: ScreenGradients
    sharpening: TargetSharpening
    position: Position = field(default_factory=Position)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def start(
        gaussians: GaussianParameters, network: DeformationNetwork, corrections: FrameCorrections, config: FitConfig
    ) -> TrainingRun:
        """A run at its first step."""
        device = gaussians.audio_gate.device
        learned = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and not name.startswith("trunk.")  # the trunk serves published avatars only
        }
        planes = [p for name, p in learned.items() if name.startswith("triplane.")]
        encoder = [p for name, p in learned.items() if name.startswith(AUDIO_ENCODER)]
        others = [p for name, p in learned.items() if not name.startswith(("triplane.", *AUDIO_ENCODER))]
        rates = {"planes": config.lr.planes, "network": config.lr.network}
        rates["audio_encoder"] = config.lr.network * config.lr.audio_encoder
        optimizer = adam(
            [
                {"params": planes, "lr": rates["planes"], "name": "planes"},
                {"params": others, "lr": rates["network"], "name": "network"},
                {"params": encoder, "lr": rates["audio_encoder"], "name": "audio_encoder"},
            ],
            device,
        )
        generator = torch.Generator().manual_seed(config.seed)
        return TrainingRun(
            gaussians,
            network,
            optimizer,
            rates,
            corrections,
            generator,
            ScreenGradients.zeros(gaussians.count, device),
            TargetSharpening(config.sharpening, device),
        )

    def parameters(self) -> list[Tensor]:
        """All that gradients change, always in the same order."""
        network = [value for group in self.network_optimizer.param_groups for value in group["params"]]
        return [*self.gaussians.values.values(), *network, *self.corrections.parameters()]

    def steps(self) -> dict[str, int]:
        """Steps done by stage, as far as the curves tell."""
        return {point["stage"]: point["step"] for point in self.history}

    def step_network(self, factor: float | Tensor) -> None:
        """One Adam step of the network at `factor` times its starting rates."""
        for group in self.network_optimizer.param_groups:
            group["lr"] = self.network_rates[group["name"]] * factor
        self.network_optimizer.step()
        self.network_optimizer.zero_grad(set_to_none=True)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors by name, JSON values) that `load_state` takes back."""
        tensors = {f"gaussians.{name}": value for name, value in self.gaussians.state().items()}
        tensors |= {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            state = adam_state(self.network_optimizer, parameter, name)
            tensors |= {f"optimizer.{key}": value for key, value in state.items()}
        tensors |= {f"corrections.{name}": value for name, value in self.corrections.state().items()}
        tensors["gradients.total"] = self.gradients.total
        tensors["gradients.seen"] = self.gradients.seen
        tensors["sharpening"] = self.sharpening.gains
        tensors["generator"] = self.generator.get_state()
        values: dict[str, Any] = {"position": asdict(self.position), "history": self.history, "seconds": self.seconds}
        values["looks"] = self.sharpening.looks
        return tensors, values

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go back to a saved state. Raises FormatError when it is not one of this network."""
        device = self.gaussians.audio_gate.device

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        try:
            self.gaussians.load_state(part("gaussians."))
            self.network.load_state_dict(part("network."))
            self.corrections.load_state(part("corrections."))
            optimizer = part("optimizer.")
            for name, parameter in self.network.named_parameters():
                load_adam_state(self.network_optimizer, parameter, name, optimizer)
            self.gradients = ScreenGradients(
                tensors["gradients.total"].to(device), tensors["gradients.seen"].to(device)
            )
            self.sharpening.set(tensors["sharpening"], values["looks"])
            self.generator.set_state(tensors["generator"])
            self.position = Position(**values["position"])
            self.history, self.seconds = list(values["history"]), dict(values["seconds"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise FormatError(f"the checkpoint does not fit this run ({error})", "Start over with --restart") from error
