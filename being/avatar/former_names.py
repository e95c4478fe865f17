"""Names that earlier versions gave to fields and files of an avatar; read, never written."""

from __future__ import annotations

from typing import Any

FORMER_FORMS = {"still": "pruned", "basis": "pca", "lite": "distilled"}
FORMER_FILES = ("survey.safetensors", "basis.safetensors", "lite.safetensors")


def present_form(name: Any) -> Any:
    """The name of today of an approximation of the network."""
    return FORMER_FORMS.get(name, name) if isinstance(name, str) else name


def with_present_names(manifest: dict[str, Any]) -> dict[str, Any]:
    """Decoded `avatar.json` of any version under the names of today."""
    manifest = dict(manifest)
    if "shortcut" in manifest:
        manifest.setdefault("approximation", manifest.pop("shortcut"))
    if "approximation" in manifest:
        manifest["approximation"] = present_form(manifest["approximation"])
    return manifest
