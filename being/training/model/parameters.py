"""The Gaussians as Adam sees them: parameters whose number changes, with their moments kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from being.model.gaussians import Gaussians
from being.training.config import LearningRates

SH_REST_FACTOR = 1 / 20  # learning rate of direction-dependent colour against constant colour
MOMENTS = ("exp_avg", "exp_avg_sq")
ADAM_EPSILON = 1e-15  # gradients of tiny Gaussians are far below Adam's default


class GaussianParameters:
    """N trainable Gaussians and their optimizer.

    `values` holds xyz (N, 3), log_scales (N, 3), quats (N, 4), opacity_logits (N,), sh_dc (N, 1, 3), sh_rest (N, 15,
    3) and head_weight (N,); `audio_gate` (N,) is set once and kept.
    """

    def __init__(self, gaussians: Gaussians, rates: LearningRates) -> None:
        self.audio_gate = gaussians.audio_gate.clone()
        self.rates = {
            "xyz": rates.xyz,
            "log_scales": rates.scale,
            "quats": rates.rotation,
            "opacity_logits": rates.opacity,
            "sh_dc": rates.colour,
            "sh_rest": rates.colour * SH_REST_FACTOR,
            "head_weight": rates.head_weight,
        }
        self.values = {
            "xyz": gaussians.xyz,
            "log_scales": gaussians.log_scales,
            "quats": gaussians.quats,
            "opacity_logits": gaussians.opacity_logits,
            "sh_dc": gaussians.sh[:, :1],
            "sh_rest": gaussians.sh[:, 1:],
            "head_weight": gaussians.head_weight,
        }
        self.values = {name: nn.Parameter(value.detach().clone().contiguous()) for name, value in self.values.items()}
        self.optimizer = adam(
            [{"params": [value], "lr": self.rates[name], "name": name} for name, value in self.values.items()],
            gaussians.xyz.device,
            ADAM_EPSILON,
        )

    @property
    def count(self) -> int:
        """N."""
        return self.values["xyz"].shape[0]

    def gaussians(self) -> Gaussians:
        """The Gaussians now, connected to the parameters."""
        v = self.values
        return Gaussians(
            xyz=v["xyz"],
            log_scales=v["log_scales"],
            quats=v["quats"],
            opacity_logits=v["opacity_logits"],
            sh=torch.cat([v["sh_dc"], v["sh_rest"]], dim=1),
            head_weight=v["head_weight"],
            audio_gate=self.audio_gate,
        )

    def step(self, factor: float | Tensor) -> None:
        """One Adam step at `factor` times the starting rates; shares stay within [0, 1]."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[group["name"]] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.values["head_weight"].clamp_(0.0, 1.0)

    @torch.no_grad()
    def rebuild(self, keep: Tensor, added: Mapping[str, Tensor], gate: Tensor) -> None:
        """Keep the rows `keep` (indices) with their moments and append `added` rows (same names) with moments of zero.

        Parameters: keep (K,) int64, added {name: (M, ...)}, gate (M,) audio gates of the added rows.
        """
        self.audio_gate = torch.cat([self.audio_gate[keep], gate])
        for group in self.optimizer.param_groups:
            name = group["name"]
            old = group["params"][0]
            new = nn.Parameter(torch.cat([old.detach()[keep], added[name]]))
            state = self.optimizer.state.pop(old, None)
            if state:
                for moment in MOMENTS:
                    state[moment] = torch.cat([state[moment][keep], torch.zeros_like(added[name])])
                self.optimizer.state[new] = state
            group["params"] = [new]
            self.values[name] = new

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, as flat tensors."""
        out: dict[str, Tensor] = {"audio_gate": self.audio_gate}
        for name, value in self.values.items():
            out[f"value.{name}"] = value.detach()
            out.update(adam_state(self.optimizer, value, name))
        return out

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`; the number of Gaussians may differ from the present one."""
        device = self.audio_gate.device
        self.audio_gate = state["audio_gate"].to(device)
        for group in self.optimizer.param_groups:
            name = group["name"]
            self.optimizer.state.pop(group["params"][0], None)
            value = nn.Parameter(state[f"value.{name}"].to(device))
            group["params"] = [value]
            self.values[name] = value
            load_adam_state(self.optimizer, value, name, state)


def adam(parameters: Iterable[Any], device: torch.device | str, eps: float = 1e-8) -> torch.optim.Adam:
    """Adam over groups; on a GPU in one kernel a group, its steps counted where the gradients are."""
    there = torch.device(device).type == "cuda"
    return torch.optim.Adam(parameters, eps=eps, fused=there or None, capturable=there)


def adam_state(optimizer: torch.optim.Adam, parameter: Tensor, name: str) -> dict[str, Tensor]:
    """Adam's numbers for one parameter as flat tensors; empty before its first step."""
    state = optimizer.state.get(parameter, {})
    return {f"adam.{key}.{name}": state[key] for key in ("step", *MOMENTS) if key in state}


def load_adam_state(optimizer: torch.optim.Adam, parameter: Tensor, name: str, state: Mapping[str, Tensor]) -> None:
    """Inverse of `adam_state`."""
    found = {key: state[f"adam.{key}.{name}"] for key in ("step", *MOMENTS) if f"adam.{key}.{name}" in state}
    if found:
        counted = parameter.device if optimizer.defaults["capturable"] else "cpu"
        step = found.pop("step").to(counted, torch.float32)
        optimizer.state[parameter] = {"step": step, **{k: v.to(parameter.device) for k, v in found.items()}}
