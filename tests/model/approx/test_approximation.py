"""The CPU forms of the network against the PyTorch network: one exact, three as near as they claim."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.fast_scene import COUNT, Scene, exact_offsets, scene

from being.errors import FormatError, InputError
from being.model.approx import FORMS, Deformer, Form, cache, make_deformer, offset_buffer, pca
from being.model.approx.approximation import FORMER_CACHES
from being.model.approx.distilled import DistilledDeformer, DistilledHead, fit_distilled
from being.model.approx.fused import FusedDeformer
from being.model.approx.lean import to_lean
from being.model.approx.motion_stats import MotionStats, influence, measure_motion, offsets_over
from being.model.approx.pca import PcaDeformer, fit_pca
from being.model.approx.pruned import PrunedDeformer


@pytest.fixture(scope="module")
def made() -> Scene:
    return scene()


@pytest.fixture(scope="module")
def stats(made: Scene) -> MotionStats:
    return measure_motion(made.network, made.gaussians)


def totals(deformer: Deformer, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, N, 59) offsets with the baseline; what a lean form leaves out is its baseline alone."""
    base = np.zeros((COUNT, 59), np.float32) if deformer.baseline is None else deformer.baseline
    result = np.stack([base] * len(tokens))
    for frame, offsets in zip(result, offsets_over(deformer, tokens), strict=True):
        frame[:, : deformer.channels] += offsets
    return result


def unexplained(made: Scene, stats: MotionStats, deformer: Deformer) -> float:
    """Share of the movement's energy, as the picture notices it, that a form gets wrong on tokens it never saw."""
    exact = exact_offsets(made, made.held_out)
    by = influence(made.gaussians, stats.mean)[:, :14]
    wrong = to_lean(totals(deformer, made.held_out) - exact, stats.colours) * by
    movement = to_lean(exact - stats.mean, stats.colours) * by
    return float((wrong**2).sum() / (movement**2).sum())


@pytest.mark.parametrize(
    "sizes", [{}, {"layers": 2}, {"heads": 4, "head_width": 96}, {"tokens": ("null", "audio", "eye")}]
)
def test_full_is_exact(sizes: dict[str, object]) -> None:
    other = scene(**sizes)  # type: ignore[arg-type]
    deformer = make_deformer("full", other.network, other.gaussians)
    exact = exact_offsets(other, other.held_out)
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(totals(deformer, other.held_out), exact, atol=2e-6)


def test_full_with_a_trained_emotion() -> None:
    other = scene(emotion_states=("happy",))
    with torch.no_grad():
        other.network.emotion_weight.fill_(0.7)
    deformer = make_deformer("full", other.network, other.gaussians)
    np.testing.assert_allclose(totals(deformer, other.held_out), exact_offsets(other, other.held_out), atol=2e-6)


def test_several_threads_may_call_at_once(made: Scene) -> None:
    deformer = make_deformer("full", made.network, made.gaussians, threads=2)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda tokens: deformer(tokens, offset_buffer(deformer)), made.held_out))
    for tokens, blocks in zip(made.held_out, together, strict=True):
        np.testing.assert_array_equal(blocks, deformer(tokens, offset_buffer(deformer)))


def test_motion_stats_are_what_the_network_does(made: Scene, stats: MotionStats) -> None:
    tokens = made.network.recorded_tokens.numpy()[np.linspace(0, 99, 96).round().astype(int)]
    np.testing.assert_allclose(stats.mean, exact_offsets(made, tokens).mean(axis=0), atol=1e-5)
    order, moving = stats.moving_first(float(np.median(stats.peak)))
    assert sorted(order) == list(range(COUNT))
    assert moving == 192  # half of 333, rounded up to blocks
    assert stats.peak[order[:moving]].min() >= stats.peak[order[moving:]].max()
    assert stats.moving_first(1e9)[1] == 0


def test_pruned_is_exact_where_it_moves(made: Scene, stats: MotionStats) -> None:
    prune_below = float(np.median(stats.peak))
    deformer = PrunedDeformer(made.network, made.gaussians, stats, prune_below)
    exact = exact_offsets(made, made.held_out)
    found = totals(deformer, made.held_out)
    movers, others = np.split(deformer.order, [deformer.moving])
    np.testing.assert_allclose(found[:, movers], exact[:, movers], atol=2e-6)
    np.testing.assert_allclose(found[:, others], np.stack([stats.mean[others]] * len(exact)), atol=1e-7)
    assert len(others) > 100


def test_pca_explains_the_movement(made: Scene, stats: MotionStats) -> None:
    errors = [
        unexplained(
            made,
            stats,
            PcaDeformer(
                made.network,
                made.gaussians,
                stats,
                fit_pca(made.network, made.gaussians, stats, modes=k, prune_below=0),
                0,
            ),
        )
        for k in (2, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_distilled_explains_the_movement(made: Scene, stats: MotionStats) -> None:
    untrained = DistilledDeformer(made.network, made.gaussians, stats, DistilledHead.new(64), prune_below=0)
    assert unexplained(made, stats, untrained) == pytest.approx(1, abs=0.3)  # every Gaussian at its mean
    head = fit_distilled(made.network, made.gaussians, stats, prune_below=0, steps=60)
    assert unexplained(made, stats, DistilledDeformer(made.network, made.gaussians, stats, head, prune_below=0)) < 0.1


@pytest.mark.parametrize("form", ["pruned", "pca", "distilled"])
def test_nothing_moves(made: Scene, stats: MotionStats, form: Form, tmp_path: Path) -> None:
    deformer = make_deformer(form, made.network, made.gaussians, prune_below=1e9)
    np.testing.assert_allclose(totals(deformer, made.held_out[:2])[1], stats.mean, atol=1e-6)


def test_caches(made: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "being.model.approx.approximation.fit_distilled", lambda *a, **k: fit_distilled(*a, **k, steps=3)
    )
    first = {
        form: totals(make_deformer(form, made.network, made.gaussians, write_to=tmp_path), made.held_out)
        for form in FORMS
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "distilled.safetensors",
        "motion_stats.safetensors",
        "pca.safetensors",
    ]
    former = tmp_path / "former"  # under the names of earlier versions
    former.mkdir()
    for name, then in FORMER_CACHES.items():
        shutil.copyfile(tmp_path / name, former / then)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("fitted again although cached")

    with monkeypatch.context() as patch:
        for name in ("measure_motion", "fit_pca", "fit_distilled"):
            patch.setattr(f"being.model.approx.approximation.{name}", never)
        for form in FORMS:
            for caches in (tmp_path, former):
                again = totals(make_deformer(form, made.network, made.gaussians, caches=[caches]), made.held_out)
                np.testing.assert_allclose(again, first[form], atol=1e-6, err_msg=form)

    owner = cache.fingerprint(made.network, made.gaussians)
    assert cache.load_motion_stats(tmp_path / "motion_stats.safetensors", "of another network", made.gaussians) is None
    kept = cache.load_motion_stats(tmp_path / "motion_stats.safetensors", owner, made.gaussians)
    assert kept is not None
    basis = fit_pca(made.network, made.gaussians, kept)
    cache.save_pca(tmp_path / "pca.safetensors", replace(basis, modes=basis.modes * np.float16(8)), owner)
    with pytest.raises(FormatError, match=r"pca\.safetensors: modes has entries above 1"):
        make_deformer("pca", made.network, made.gaussians, caches=[tmp_path])
    whole = (tmp_path / "distilled.safetensors").read_bytes()
    (tmp_path / "distilled.safetensors").write_bytes(whole[:-40])
    with pytest.raises(FormatError, match=r"distilled\.safetensors: not a readable"):
        make_deformer("distilled", made.network, made.gaussians, caches=[tmp_path])
    broken = np.frombuffer(whole, np.uint8).copy()
    broken[-4:] = [0, 0, 192, 127]  # a NaN as the last float
    (tmp_path / "distilled.safetensors").write_bytes(broken.tobytes())
    with pytest.raises(FormatError, match="not finite"):
        make_deformer("distilled", made.network, made.gaussians, caches=[tmp_path])


def test_a_cache_that_cannot_be_written_is_no_error(made: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    make_deformer("pruned", made.network, made.gaussians, write_to=tmp_path / "file" / "cache")


def test_fingerprint_sees_every_change(made: Scene) -> None:
    before = cache.fingerprint(made.network, made.gaussians)
    other = scene()
    assert cache.fingerprint(other.network, other.gaussians) == before
    with torch.no_grad():
        other.network.layers[0].key.bias[3] += 1e-3  # type: ignore[union-attr, index, operator]
    assert cache.fingerprint(other.network, other.gaussians) != before


def test_refusals(made: Scene) -> None:
    with pytest.raises(InputError, match="form 'warp' is unknown"):
        make_deformer("warp", made.network, made.gaussians)  # type: ignore[arg-type]
    forgetful = scene()
    forgetful.network.recorded_tokens = forgetful.network.recorded_tokens[:0]
    assert isinstance(make_deformer("full", forgetful.network, forgetful.gaussians), FusedDeformer)
    with pytest.raises(InputError, match="recorded no frames"):
        make_deformer("pca", forgetful.network, forgetful.gaussians)
    with pytest.raises(InputError, match="tokens have shape"):
        deformer = make_deformer("full", made.network, made.gaussians)
        deformer(made.held_out[0][:3], offset_buffer(deformer))


def test_what_no_mode_explains_is_not_taken_for_movement() -> None:
    rng = np.random.default_rng(3)
    modes, weights = rng.normal(size=(6, 400)), rng.normal(size=(80, 6)) * (9, 6, 3, 1, 0.3, 0.1)
    loud = np.where(np.arange(400) < 100, 20.0, 0.2)  # a quarter of the channels does what the modes do not tell
    recorded = weights @ modes + rng.normal(size=(80, 400)) * loud
    new = rng.normal(size=(50, 6)) * (9, 6, 3, 1, 0.3, 0.1)
    probes = new @ modes + rng.normal(size=(50, 400)) * loud
    found = probes @ pca.mode_weights(modes, weights, recorded).T
    plain = probes @ np.linalg.pinv(modes)
    assert np.abs(found - new).mean() < 0.2 * np.abs(plain - new).mean()
    exact = pca.mode_weights(modes, weights, weights @ modes)
    np.testing.assert_allclose(exact @ modes.T, np.eye(6), atol=1e-3)
