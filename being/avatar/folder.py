"""An avatar as a folder on disk: written whole or not at all, and read with every hash, shape and number checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from being.atomic import whole_folder
from being.avatar.content import check_content, read_arrays, read_json, read_picture, sha256_of
from being.avatar.motion import Motion, check_motion
from being.avatar.schema import OPTIONAL_FILES, REQUIRED_FILES, AvatarManifest, parse_manifest
from being.constants import MAX_PICTURE_SIDE
from being.errors import FormatError, InputError
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork
from being.model.ply import load_ply, save_ply
from being.model.weights import load_network, save_network

MANIFEST = "avatar.json"
JPEG_QUALITY = 90

Sign = Callable[[AvatarManifest], AvatarManifest]


@dataclass(frozen=True)
class Avatar:
    """One trained person in memory.

    background: (height, width, 3) uint8 RGB plate of the recorded frame. folder: where it was loaded from, None when it
    was made in memory.
    """

    manifest: AvatarManifest
    gaussians: Gaussians
    network: DeformationNetwork
    motion: Motion
    background: npt.NDArray[np.uint8]
    folder: Path | None = None

    @property
    def id(self) -> str:
        return self.manifest.id


def save_avatar(
    avatar: Avatar,
    folder: Path,
    *,
    preview: npt.NDArray[np.uint8] | None = None,
    extra: dict[str, Path] | None = None,
    replace_existing: bool = False,
    sign: Sign | None = None,
) -> Avatar:
    """Write `folder` (its name must be the avatar's id) and return the avatar as written, hashes filled in.

    Everything is written into a hidden folder beside it and renamed at the end: readers see the old avatar, the new one
    or none, never half of one. preview: uint8 (H, W, 3); the background plate when None. extra: optional files
    (`OPTIONAL_FILES`) to copy in. sign: makes the manifest the one that is written, once it holds the files' hashes.

    Raises
    ------
    InputError
        Where the folder exists and `replace_existing` is False, its name is not the id, or it cannot be written.
    FormatError
        Where the avatar itself would not load again (wrong shape, NaN).
    """
    folder = Path(folder)
    if folder.name != avatar.id:
        raise InputError(f"{folder}: the folder of avatar {avatar.id!r} must be called {avatar.id!r}")
    if folder.exists() and not replace_existing:
        raise InputError(f"{folder}: already exists", "Choose another id, or allow it to be replaced")
    with whole_folder(folder, replace=True) as draft:
        _write_files(avatar, draft, avatar.background if preview is None else preview)
        _add_files(draft, extra or {})
        manifest = _seal(draft, avatar.manifest, sign)
    return replace(avatar, manifest=manifest, folder=folder)


def amend_avatar(
    folder: Path, *, extra: dict[str, Path] | None = None, sign: Sign | None = None, **fields: object
) -> AvatarManifest:
    """Change fields of a stored avatar's manifest and add or replace optional files; all or nothing, as `save_avatar`.

    sign: as there.

    Raises
    ------
    InputError, FormatError
        As `load_avatar` and `save_avatar`.
    """
    folder = Path(folder)
    avatar = load_avatar(folder)
    with whole_folder(folder, replace=True) as draft:
        for name in avatar.manifest.files:
            shutil.copyfile(folder / name, draft / name)
        _add_files(draft, extra or {})
        return _seal(draft, avatar.manifest.model_copy(update=fields), sign)


def _add_files(draft: Path, extra: dict[str, Path]) -> None:
    for name, source in extra.items():
        if name not in OPTIONAL_FILES:
            raise InputError(f"{name!r} is not a file an avatar may hold", f"Known: {', '.join(OPTIONAL_FILES)}")
        shutil.copyfile(source, draft / name)


def _seal(draft: Path, manifest: AvatarManifest, sign: Sign | None) -> AvatarManifest:
    """Write the manifest with the hashes of the draft's files, and read everything once as a stranger would."""
    hashes = {path.name: sha256_of(path) for path in sorted(draft.iterdir())}
    manifest = manifest.model_copy(update={"files": hashes})
    if sign is not None:
        manifest = sign(manifest)
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    _read(draft, parse_manifest(read_json(draft / MANIFEST), str(draft / MANIFEST)))
    return manifest


def load_avatar(folder: Path) -> Avatar:
    """Read an avatar; the network is in eval mode on the CPU.

    Raises
    ------
    FormatError
        Naming the file and the field that is missing, hostile, damaged, of the wrong shape, or not finite.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if folder.resolve().name != manifest.id:
        raise FormatError(
            f"{folder / MANIFEST}: id is {manifest.id!r} but the folder is called {folder.resolve().name!r}",
            "Rename one of them",
        )
    _check_files(folder, manifest)
    return _read(folder, manifest)


def read_manifest(folder: Path) -> AvatarManifest:
    """Only `avatar.json`, checked: what a listing needs."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FormatError(f"{path}: not found", "An avatar is a folder with avatar.json, as being fit writes it")
    return parse_manifest(read_json(path), str(path))


def _check_files(folder: Path, manifest: AvatarManifest) -> None:
    """Refuse missing, foreign, linked, disguised or altered files."""
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise FormatError(f"{folder / MANIFEST}: files: no SHA-256 of {name}")
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST or path.name.startswith("."):
            continue
        if path.name not in manifest.files:
            raise FormatError(f"{path}: does not belong in an avatar", "Remove it")
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise FormatError(f"{path}: {'is a link' if path.is_symlink() else 'is missing'}", "Copy the avatar again")
        check_content(path)
        found = sha256_of(path)
        if found != digest:
            raise FormatError(
                f"{path}: SHA-256 is {found[:12]}..., avatar.json says {digest[:12]}...",
                "The file was changed or damaged: copy the avatar again",
            )


def _read(folder: Path, manifest: AvatarManifest) -> Avatar:
    ply = folder / "gaussians.ply"
    gaussians = load_ply(ply)
    if gaussians.count != manifest.gaussians:
        raise FormatError(f"{ply}: holds {gaussians.count} Gaussians, avatar.json says {manifest.gaussians}")
    background = read_picture(folder / "background.png", MAX_PICTURE_SIDE)
    if background.shape[:2] != (manifest.height, manifest.width):
        raise FormatError(
            f"{folder / 'background.png'}: is {background.shape[1]}x{background.shape[0]}, "
            f"avatar.json says {manifest.width}x{manifest.height}"
        )
    motion_path = folder / "motion.npz"
    motion = check_motion(read_arrays(motion_path), str(motion_path), len(manifest.network.emotion_states))
    return Avatar(manifest, gaussians, _read_network(folder, manifest), motion, background, folder)


def _read_network(folder: Path, manifest: AvatarManifest) -> DeformationNetwork:
    path = folder / "network.safetensors"
    # On the meta device the sizes of avatar.json cost no memory, so absurd ones are refused before they are allocated.
    with torch.device("meta"):
        needed = sum(4 * tensor.numel() for tensor in DeformationNetwork(manifest.network).state_dict().values())
    if path.stat().st_size < needed // 2:  # half, so that a file of 16-bit numbers may be read
        raise FormatError(
            f"{path}: holds {path.stat().st_size} bytes, the network of avatar.json needs {needed}",
            "Copy the avatar again",
        )
    return load_network(path, manifest.network).requires_grad_(False)


def _write_files(avatar: Avatar, draft: Path, preview: npt.NDArray[np.uint8]) -> None:
    from PIL import Image

    save_ply(draft / "gaussians.ply", avatar.gaussians)
    save_network(draft / "network.safetensors", avatar.network)
    with (draft / "motion.npz").open("wb") as file:
        np.savez_compressed(file, **avatar.motion.arrays())
    Image.fromarray(avatar.background).save(draft / "background.png", optimize=True)
    Image.fromarray(preview).save(draft / "preview.jpg", quality=JPEG_QUALITY)
