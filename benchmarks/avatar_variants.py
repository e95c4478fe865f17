"""Different avatars out of one, for measuring many on a renderer: colours and opacities moved a little.

    python benchmarks/avatar_variants.py LIBRARY --count 16
    being serve --library LIBRARY

No two hold the same bytes, so that nothing is shared between them; the consent record stays the original's.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import torch
from raw_client import copy_avatar

from being.avatar.content import sha256_of
from being.model.ply import load_ply, save_ply

DEMO = Path(__file__).resolve().parents[1] / "being" / "avatars" / "demo"
GAUSSIANS = "gaussians.ply"
TINT, GRAIN = 0.12, 0.02  # standard deviations: of an avatar's colours together, of each Gaussian's colour and opacity


def make_variants(library: Path, count: int, source: Path = DEMO) -> list[str]:
    """Ids of `count` variants in a library, `source`-00 and on; those that are there stay."""
    library.mkdir(parents=True, exist_ok=True)
    original = load_ply(source / GAUSSIANS)
    names = [f"{source.name}-{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        if (library / name).exists():
            continue
        random = torch.Generator().manual_seed(number)
        sh = original.sh.clone()
        sh[:, 0] += TINT * torch.randn(3, generator=random) + GRAIN * torch.randn(sh[:, 0].shape, generator=random)
        opacity = original.opacity_logits + GRAIN * torch.randn(original.opacity_logits.shape, generator=random)
        folder = copy_avatar(source, library, name)
        save_ply(folder / GAUSSIANS, replace(original, sh=sh, opacity_logits=opacity))
        manifest = json.loads((folder / "avatar.json").read_text())
        manifest["name"] = f"{manifest['name']} {number}"
        manifest["files"][GAUSSIANS] = sha256_of(folder / GAUSSIANS)
        (folder / "avatar.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return names


@click.command()
@click.argument("library", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=16, show_default=True)
@click.option("--source", default=DEMO, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(library: Path, count: int, source: Path) -> None:
    """Make them."""
    click.echo(" ".join(make_variants(library, count, source)))


if __name__ == "__main__":
    main()
