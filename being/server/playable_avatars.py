"""The avatars of a library that this server may play, and loading them in a graph."""

from __future__ import annotations

import asyncio

from being.avatar.library import Library
from being.avatar.schema import AvatarManifest
from being.avatar.trust import consent_trust
from being.errors import BeingError, InputError
from being.graph.contract import Graph
from being.live.requests import AvatarFacts
from being.server.metrics import Meter
from being.server.problems import Problem
from being.server.refusals import refusal

PREPARE_AGAIN_S = 0.5


class PlayableAvatars:
    """A library behind its consent records.

    Parameters
    ----------
    unconsented : bool
        Play avatars whose consent record is missing, too.
    """

    def __init__(self, library: Library, meter: Meter, *, unconsented: bool = False) -> None:
        self.library = library
        self._meter = meter
        self._unconsented = unconsented
        self._prepared: dict[str, AvatarFacts] = {}

    def may_serve(self, manifest: AvatarManifest) -> bool:
        """Whether its consent record, or the server's settings, allow it to be played."""
        return self._unconsented or consent_trust(manifest).serve

    def manifests(self) -> list[AvatarManifest]:
        """Of all that may be played, by id."""
        return [entry.manifest for entry in self.library.entries() if self.may_serve(entry.manifest)]

    def manifest(self, avatar_id: str) -> AvatarManifest:
        """The manifest of one.

        Raises
        ------
        Problem
            404 where there is none, 403 where nobody agreed to its being played.
        """
        try:
            manifest = self.library.get(avatar_id).manifest
        except InputError as error:
            raise Problem.of(error, 404) from None
        if not self.may_serve(manifest):
            raise Problem(
                403,
                f"avatar {avatar_id!r} has no valid consent record",
                "Record the person's consent, or set limits.serve_unconsented for your own experiments",
            )
        return manifest

    async def prepare_again(self, avatar_id: str, graph: Graph) -> AvatarFacts:
        """Load one for a client that comes back; a graph that does not answer holds it up for a moment only."""
        known = self._prepared.get(avatar_id)
        if known is None:
            return await self.prepare(avatar_id, graph)
        try:
            return await asyncio.wait_for(self.prepare(avatar_id, graph), PREPARE_AGAIN_S)
        except TimeoutError:
            return known

    async def prepare(self, avatar_id: str, graph: Graph) -> AvatarFacts:
        """Load one; 409 where its folder is damaged, 503 where the graph does not answer."""
        self.manifest(avatar_id)
        try:
            facts = self._prepared[avatar_id] = await graph.prepare(avatar_id)
            return facts
        except BeingError as error:
            raise Problem.of(error, 409) from None
        except Exception as error:
            reason = f"avatar {avatar_id!r} could not be loaded: {type(error).__name__}"
            raise refusal(self._meter, "graph", reason) from error
