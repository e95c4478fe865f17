"""How frames are refined, as data: part of the graph's settings and of the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from being.inference.frames import Extras

Backend = Literal["native", "streamdiffusion"]


class RefinerSettings(BaseModel):
    """The refiner: absent unless configured.

    Parameters
    ----------
    backend : native, the small network trained on the person (`being fit-refiner`); streamdiffusion, one step of a
        diffusion model.
    load : a frame stage of your own in its place.
    strength : of sessions that ask for none themselves.
    options : of the backend, see its own settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Backend = "native"
    load: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        description="module:function; called with `device`, it returns a being.inference.frame_batch.FrameStage",
    )
    device: str = "auto"
    place: Literal["own", "renderer"] = Field(
        default="renderer",
        description="inside the Renderer's process (one GPU, no hand-over), or a deployment of its own",
    )
    strength: float = Field(default=1.0, ge=0, le=1)
    options: dict[str, Any] = {}

    @property
    def sent(self) -> Extras:
        """What frames bring to a refiner of its own beside their pixels."""
        wants_depth = self.load is None and (self.backend == "native" or "controlnet" in self.options)
        return Extras.ALPHA | Extras.FACE_BOX | (Extras.DEPTH if wants_depth else Extras.NONE)


def _by_name(value: Any) -> Any:
    """A backend's name stands for its settings; "none" for no refiner."""
    if value == "none":
        return None
    return {"backend": value} if isinstance(value, str) else value


OptionalRefiner = Annotated[RefinerSettings | None, BeforeValidator(_by_name)]
