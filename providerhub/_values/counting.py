"""The number of tokens of a request."""

from __future__ import annotations

import attrs

from providerhub._values.frozen import frozen
from providerhub._values.route import Route
from providerhub._values.value import Value


@frozen(eq=False, repr=False)
class TokenCount(Value):
    """The result of `count_tokens`.

    Args:
        input_tokens: The tokens of the whole request, as the service counts or estimates them: messages, tools and media.
        model: The model whose tokens were counted, by the name that was sent.
        provider: The name of the provider instance that counted.
        route: The attempts of the call.
    """

    input_tokens: int
    model: str = ""
    provider: str = ""
    route: Route = attrs.field(factory=Route, repr=False)
