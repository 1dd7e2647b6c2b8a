"""Providers that keep every promise, each in another way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providerhub import CallContext, Finish, ProviderConfig, Request
from providerhub.openai_provider import OpenAIChatProvider

create_good_openai = OpenAIChatProvider
create_good_silent = OpenAIChatProvider


class Inside:
    """Answers in this process."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config

    def stream(self, request: Request, call: CallContext) -> Iterator[Any]:
        for word in str(request.messages[-1]["content"]).split(" "):
            yield f"{word} "
        yield Finish("stop")


create_good_inside = Inside
