"""Names that settings had in earlier versions: command lines and checkpoints that use them stay good."""

from __future__ import annotations

from typing import Any

FORMER_FIELDS = {  # of FitConfig: now -> then
    "pretrained": "prior",
    "pretrained_parts": "prior_parts",
    "freeze_audio_encoder": "keep_ear",
    "quality_suite": "prove",
}
FORMER_VALUES = {("pretrained_parts", "audio_encoder"): "ear"}


def with_present_names(values: dict[str, Any]) -> dict[str, Any]:
    """Settings under the names and values of today, whichever they came with; a present name wins over a former one."""
    renamed = dict(values)
    for now, then in FORMER_FIELDS.items():
        if then in renamed:
            value = renamed.pop(then)
            renamed.setdefault(now, value)
    for (field, now), then in FORMER_VALUES.items():
        if renamed.get(field) == then:
            renamed[field] = now
    return renamed


def with_former_names(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as an earlier version would have written them: what fingerprints of checkpoints are made of."""
    return {
        FORMER_FIELDS.get(name, name): FORMER_VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in values.items()
    }
