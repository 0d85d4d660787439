"""What decodes for a writer: the engine here, vLLM, or a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mmreason.decoding.requests import Decoded, DecodeRequest


class Backend(Protocol):
    """Decodes prompts.

    :class:`~mmreason.decoding.engine.Engine` and :class:`~mmreason.decoding.vllm.Vllm` read token ids and embeddings,
    :class:`~mmreason.decoding.server.Server` reads words.
    """

    def decode_all(self, requests: Iterable[DecodeRequest]) -> list[Decoded]:
        """The texts of all requests, in order: request by request, candidate by candidate.

        A request that fails gives texts with ``finish="error"`` and disturbs no other.
        """
