"""The request for embeddings, and its answer: one vector for each text."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from providerhub._values.cost import Cost, Usage
from providerhub._values.frozen import frozen
from providerhub._values.request import Request
from providerhub._values.route import Route
from providerhub._values.value import Value


@frozen(eq=False, repr=False)
class EmbeddingRequest(Request):
    """The request that a provider's `embed` answers. A driver treats it as any `Request`.

    Args:
        model: The model's name as the provider knows it.
        messages: All texts of the call, each as a message; for estimates of tokens.
        stream: Always at its default here.
        temperature: Always at its default here.
        max_tokens: Always at its default here.
        stop: Always at its default here.
        tools: Always at its default here.
        tool_choice: Always at its default here.
        response_format: Always at its default here.
        seed: Always at its default here.
        reasoning: Always at its default here.
        top_p: Always at its default here.
        parallel_tool_calls: Always at its default here.
        options: Vendor-specific keywords for this provider.
        texts: The texts, each of which gets a vector; at least one, and no more than the provider's limits allow.
        dimensions: The length of the vectors; `None`, the default, for the model's own.
    """

    texts: Sequence[str] = attrs.field(default=(), kw_only=True)
    dimensions: int | None = attrs.field(default=None, kw_only=True)


@frozen(eq=False, repr=False)
class Embeddings(Value):
    """The vectors of some texts. All of them come from one model, since vectors of two models cannot be compared.

    Args:
        vectors: One list of numbers for each text, in the order of the texts.
        usage: The token counts, added up, without output tokens; `None` where the service states none.
        model: The model that answered, by the name that was sent. A provider leaves it empty.
        provider: The name of the provider instance that answered. A provider leaves it empty.
        route: The attempts of the call. A provider leaves it empty.
    """

    vectors: Sequence[Sequence[float]]
    usage: Usage | None = None
    model: str = ""
    provider: str = ""
    route: Route = attrs.field(factory=Route, repr=False)

    @property
    def cost(self) -> Cost | None:
        """The cost of these vectors; `None` when it is unknown. `route.cost` is that of all attempts."""
        return self.route.cost_of(self.usage, self.provider, self.model)
