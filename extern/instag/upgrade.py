"""An InsTaG folder -> one that Being and GaussianTalker train on.

InsTaG's has the common layout, but its tracking has no mesh (`vertices`), its masks paint hair black and the mouth
grey, and its sound is `aud_eo.npy` (44 wide) or `aud.npy` (29 wide). Pictures are carried over, not copied: hard links.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from being.extern.bfm import FaceModel
from being.extern.carry import carry, carry_folder
from being.extern.openface import ActionUnits, read_units, write_units
from being.extern.untrusted import load_array, load_tensors
from numpy.typing import NDArray
from PIL import Image

from being.atomic import whole_folder
from being.dataset import Dataset
from being.dataset.folder import PICTURES, numbered, read_picture
from being.dataset.parsing import colours_of_labels, labels_of_colours
from being.dataset.tracking import finite
from being.errors import FormatError, InputError
from being.progress import Progress, Silent

WIDTHS = {"aud_eo.npy": 44, "aud_ds.npy": 29, "aud.npy": 29}
TRACKED = {"id": (1, 100), "exp": (None, 79), "euler": (None, 3), "trans": (None, 3)}
_REMEDY = "Give the folder that InsTaG's process.py made: it holds ori_imgs/, parsing/ and track_params.pt"


@dataclass(frozen=True)
class Upgraded:
    """What came of it: frames, points of the mesh, width of `aud_ds.npy`, masks that held InsTaG's colours."""

    frames: int
    vertices: int
    audio_width: int
    recoloured: int


def upgrade(source: Path, out: Path, model: FaceModel | None = None, progress: Progress | None = None) -> Upgraded:
    """Write the folder `out`; `source` is not changed.

    Parameters
    ----------
    model : the user's face model, for the mesh at the clip's mean expression; not needed where the tracking has one.

    Raises
    ------
    InputError
        No such folder, no model where one is needed, or `out` exists.
    FormatError
        A file that is missing, hostile, damaged, of a wrong shape or not finite. Nothing is left of `out` then.
    """
    source, progress = Path(source), progress or Silent()
    if not source.is_dir():
        raise InputError(f"{source} is not a folder", _REMEDY)
    tracking = read_tracking(source / "track_params.pt")
    units = read_units(source / "au.csv")
    sound = read_sound(source)
    masks = numbered(source / "parsing", (".png",))
    frames = len(tracking["euler"])
    for name, found in {"ori_imgs": numbered(source / "ori_imgs", PICTURES), "parsing": masks}.items():
        if not found:
            raise FormatError(f"{source / name} holds no pictures named 0, 1, 2 ...", _REMEDY)
    if "vertices" not in tracking:
        if model is None:
            raise InputError(
                f"{source / 'track_params.pt'} has no mesh (vertices), as InsTaG writes it",
                "Give your BFM 2009: --bfm 3DMM_info.npy (see extern/bfm/README.md)",
            )
        mesh = model.vertices(tracking["id"][0], tracking["exp"].mean(axis=0))
        tracking["vertices"] = mesh[None]
    with whole_folder(out) as draft:
        progress.part("carry over")
        carry_folder(source / "ori_imgs", draft / "ori_imgs", (*PICTURES, ".lms"))
        carry_folder(source / "gt_imgs", draft / "gt_imgs", PICTURES)
        carry_folder(source / "torso_imgs", draft / "torso_imgs", (".png",))
        for name in ("bc.png", "bc.jpg", "aud.wav", "transforms_train.json", "transforms_val.json"):
            if (source / name).is_file():
                carry(source / name, draft / name)
        for name, windows in sound.items():
            np.save(draft / name, windows)
        write_units(draft / "au.csv", ActionUnits(units.intensities, classic=True), frames)
        torch.save({name: torch.from_numpy(value) for name, value in tracking.items()}, draft / "track_params.pt")
        progress.part("masks")
        (draft / "parsing").mkdir()
        recoloured = 0
        for done, (index, path) in enumerate(sorted(masks.items()), start=1):
            recoloured += repaint(path, draft / "parsing" / f"{index}.png")
            progress.update(done / len(masks))
        data = Dataset(draft)
        if data.notes:
            raise FormatError(f"{draft}: {data.notes[0]}", _REMEDY)
        data.background  # noqa: B018 - reads it: every number and the plate must be as a trainer wants them
    return Upgraded(frames, tracking["vertices"].shape[1], sound["aud_ds.npy"].shape[2], recoloured)


def read_tracking(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of `track_params.pt` by name, float32; `vertices` as (1, V, 3), and absent where it is."""
    entries = load_tensors(path, _REMEDY)

    def entry(name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        if name not in entries:
            raise FormatError(f"{path} has no tensor {name!r}", _REMEDY)
        return finite(entries[name].detach().numpy(), shape, f"{path}, {name!r}").astype(np.float32)

    tracking = {name: entry(name, shape) for name, shape in TRACKED.items()}
    tracking["focal"] = entry("focal", (None,)) if entries.get("focal", torch.ones(())).ndim else entry("focal", ())
    tracking["focal"] = tracking["focal"].reshape(-1)[:1]
    frames = len(tracking["euler"])
    for name in ("exp", "trans"):
        if len(tracking[name]) != frames:
            raise FormatError(f"{path}: {name!r} has {len(tracking[name])} frames, 'euler' {frames}")
    if "vertices" in entries:
        mesh = entries["vertices"]
        cloud = entry("vertices", (None, None, 3) if mesh.ndim == 3 else (None, 3))
        tracking["vertices"] = cloud.mean(axis=0, keepdims=True) if mesh.ndim == 3 else cloud[None]
    return tracking


def read_sound(source: Path) -> dict[str, NDArray[np.float32]]:
    """The feature windows to write, by name: `aud_eo.npy` as it is, and `aud_ds.npy`, which GaussianTalker opens.

    The second is DeepSpeech where there is some (29 wide), else the 44-wide windows once more.
    """
    found = {}
    for name, width in WIDTHS.items():
        if (source / name).is_file():
            found[name] = load_array(source / name, (None, 16, width), _REMEDY).astype(np.float32)
    if not found:
        raise InputError(
            f"{source} has no sound features (aud_eo.npy or aud.npy)", "Run InsTaG's data_utils/wav2vec.py"
        )
    written = {"aud_ds.npy": found.get("aud_ds.npy", found.get("aud.npy", found.get("aud_eo.npy")))}
    if "aud_eo.npy" in found:
        written["aud_eo.npy"] = found["aud_eo.npy"]
    for name, windows in written.items():
        if windows is None or not len(windows):
            raise FormatError(f"{source / name} holds no window", _REMEDY)
    return {name: windows for name, windows in written.items() if windows is not None}


def repaint(path: Path, target: Path) -> bool:
    """Write a mask in the common colours (hair and mouth are head); return whether it held others."""
    picture = read_picture(path)
    repainted = colours_of_labels(labels_of_colours(picture))
    if np.array_equal(picture, repainted):
        carry(path, target)
        return False
    Image.fromarray(repainted).save(target, compress_level=4)
    return True
