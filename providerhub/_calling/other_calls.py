"""The calls of a hub for something else than an answer: vectors, and counts of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from providerhub._calling.embedding import EmbeddingKnobs, embedding_spec, embeddings_of
from providerhub._calling.keywords import Knobs, as_awaited, documented
from providerhub._calling.making import CallMaker, async_chain
from providerhub._calling.messages import Conversation
from providerhub._finding.registry import ModelSpec
from providerhub._values import Embeddings

if TYPE_CHECKING:  # few programs count
    from providerhub._values import TokenCount


class OtherCalls(CallMaker):
    """Makes the calls of a hub that are not for an answer."""

    @documented
    def embed(
        self,
        model: ModelSpec,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        **knobs: Unpack[EmbeddingKnobs],
    ) -> Embeddings:
        """Turn texts into vectors. The provider is chosen, and another one is asked after a failure, as at `complete`.

        The texts go to the service in as many requests as it needs. All vectors of a call come from one model: after a failure
        the next candidate gets all texts again. To compare vectors of two calls, name one model, not a sequence.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            texts: The texts, at least one, none of them empty. A single text is a list of one.
            dimensions: The length of the vectors, where the model has several; `None`, the default, for its own.
            **knobs: `timeout`, `retry`, `strategy`, `hedge`, `metadata` and `options`, as at `complete`.

        Returns:
            The vectors in the order of the texts, with the model and the provider that answered.

        Raises:
            ProviderHubError: The same errors as `complete`.
        """
        return embeddings_of(self._call(self._special(embedding_spec, model, texts, dimensions=dimensions, **knobs)))

    @as_awaited(embed)
    async def aembed(
        self,
        model: ModelSpec,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        **knobs: Unpack[EmbeddingKnobs],
    ) -> Embeddings:
        """`embed`, awaited in the running event loop."""
        async_chain()
        return embeddings_of(await self._acall(self._special(embedding_spec, model, texts, dimensions=dimensions, **knobs)))

    @documented
    def count_tokens(self, model: ModelSpec, messages: Conversation, **knobs: Unpack[Knobs]) -> TokenCount:
        """Ask a service how many input tokens a request has, without an answer. The provider is chosen as at `complete`.

        After a failure, or if a provider cannot count, the next candidate is asked. Providers count differently, so name one
        model, or pin a provider, to compare two counts. A count is free, and the limits of tokens and budgets let it pass.

        Args:
            model: A name, `"provider/name"` to pin a provider, a `Model`, or a sequence of these, tried in order.
            messages: The conversation, as at `complete`.
            **knobs: The keywords of `complete`; those that the provider gets, such as `tools`, count.

        Returns:
            The number of tokens, as the service counts or estimates it, with the model and the provider that counted.

        Raises:
            CapabilityError: No candidate can count.
            ProviderHubError: The same errors as `complete`.
        """
        from providerhub._calling import counting

        return counting.count_of(self._call(self._special(counting.counting_spec, model, messages, **knobs)))

    @as_awaited(count_tokens)
    async def acount_tokens(self, model: ModelSpec, messages: Conversation, **knobs: Unpack[Knobs]) -> TokenCount:
        """`count_tokens`, awaited in the running event loop."""
        from providerhub._calling import counting

        async_chain()
        return counting.count_of(await self._acall(self._special(counting.counting_spec, model, messages, **knobs)))
