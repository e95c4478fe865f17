"""wav2vec2 in fixed blocks: a stream equals the file. The model is a tiny random one, made on the spot."""

from pathlib import Path

import numpy as np
import pytest

from being.audio.extractors import load_extractor
from being.audio.features import STEP, FeatureSpec
from being.audio.wav2vec2 import Wav2Vec2
from being.errors import InputError

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=44, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tiny_wav2vec2")
    transformers.Wav2Vec2ForCTC(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def extractor(folder: Path) -> Wav2Vec2:
    return Wav2Vec2(str(folder), left_s=0.2, block_s=0.1, right_s=0.06)


PCM = (0.1 * np.random.default_rng(0).normal(size=12_345)).astype(np.float32)


def test_width_and_number_of_steps(extractor: Wav2Vec2) -> None:
    assert extractor(PCM).shape == (39, 44)
    assert extractor.width == 44


@pytest.mark.parametrize("sizes", [(640,), (333, 5000)])
def test_a_stream_equals_the_file(extractor: Wav2Vec2, sizes: tuple[int, ...]) -> None:
    stream, parts, start, k = extractor.stream(), [], 0, 0
    while start < len(PCM):
        parts.append(stream.push(PCM[start : start + sizes[k % len(sizes)]]))
        start += sizes[k % len(sizes)]
        k += 1
    parts.append(stream.flush())
    np.testing.assert_allclose(np.concatenate(parts), extractor(PCM), atol=1e-4)


def test_any_part_equals_the_whole(extractor: Wav2Vec2) -> None:
    np.testing.assert_allclose(extractor(PCM, 7, 9), extractor(PCM)[7:16], atol=1e-5)
    assert extractor(PCM, -3, 3).shape == (3, 44)


def test_nothing_outside_the_stated_context_is_heard(extractor: Wav2Vec2) -> None:
    for step in (19, 20, 24):  # first, middle and last of a block
        changed = PCM.copy()
        changed[: max(0, step * STEP - extractor.left_context)] = 0.5
        changed[(step + 1) * STEP + extractor.right_context :] = -0.5
        np.testing.assert_allclose(extractor(changed, step, 1), extractor(PCM, step, 1), atol=1e-6)


def test_steps_are_those_of_the_plain_model(folder: Path, extractor: Wav2Vec2) -> None:
    import torch

    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    span = PCM[15 * STEP - 10 * STEP : 20 * STEP + 3 * STEP + 80]  # the block of steps 15..19 with its context
    span = (span - span.mean()) / np.sqrt(span.var() + 1e-7)
    with torch.inference_mode():
        logits = model(torch.from_numpy(span)[None]).logits[0]
    np.testing.assert_allclose(extractor(PCM, 15, 5), logits[10:15].numpy(), atol=1e-5)


def test_by_name_and_with_a_wrong_folder(folder: Path, tmp_path: Path) -> None:
    assert load_extractor(FeatureSpec(name="wav2vec2", params={"model": str(folder)})).width == 44
    with pytest.raises(InputError, match="cannot be loaded"):
        Wav2Vec2(str(tmp_path))
