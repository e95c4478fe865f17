"""Functions by key: called on a CPU, recorded and replayed on a GPU."""

from __future__ import annotations

import pytest
import torch

from being.refine.streamdiffusion.graphs import Graphs


def test_a_cpu_just_calls() -> None:
    graphs = Graphs(torch.device("cpu"))
    x = torch.ones(2, 3)
    assert torch.equal(graphs("a", lambda value: value + 1, 4, x), x + 1)
    graphs.record("a", lambda value: value, x)
    assert len(graphs) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_replays_with_fewer_rows_and_other_numbers() -> None:
    device = torch.device("cuda")
    graphs = Graphs(device)
    calls = []

    def double(value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        calls.append(len(value))
        return value * factor[:, None]

    with torch.inference_mode():
        for count in (3, 1, 4):
            value, factor = torch.randn(count, 5, device=device), torch.randn(count, device=device)
            got = graphs("double", double, 4, value, factor)
            torch.testing.assert_close(got, value * factor[:, None])
    assert len(graphs) == 1 and set(calls) == {4}
