"""The tokens of an answer, the prices of a model, and the cost that follows from both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from providerhub._values.value import Value, frozen

MILLION = 1_000_000


@frozen(eq=False, repr=False)
class Usage(Value):
    """Token counts of one answer. `None` means that the provider did not report the count.

    The counts follow OpenTelemetry's conventions for generative AI at every provider: `input_tokens` include the tokens read from
    a cache and written to a cache, and `output_tokens` include the reasoning.

    Args:
        input_tokens: Tokens of the prompt, including cached tokens.
        output_tokens: Tokens of the answer, including the reasoning.
        cached_tokens: Tokens of the prompt that the vendor read from its cache.
        reasoning_tokens: Tokens of the reasoning.
        cache_write_tokens: Tokens of the prompt that the vendor wrote to its cache.
        input_audio_tokens: Tokens of the prompt that are audio.
        output_audio_tokens: Tokens of the answer that are audio.
        input_image_tokens: Tokens of the prompt that are images.
        output_image_tokens: Tokens of the answer that are images.
        stated_total: The sum from the service, which may include tokens that no other count has.
        cost: The cost from the service, in the service's currency (mostly US dollars).
        others: Every count under the service's own name; the names of nested counts are joined by dots.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    output_image_tokens: int | None = None
    stated_total: int | None = None
    cost: float | None = None
    others: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def total_tokens(self) -> int | None:
        """The sum from the service, or else of `input_tokens` and `output_tokens`; `None` when either is unknown."""
        if self.stated_total is not None:
            return self.stated_total
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def updated(self, later: Usage) -> Usage:
        """Replace each count by the count of a later event.

        Args:
            later: The later counts; a `None` changes nothing.

        Returns:
            The counts of both.
        """
        changes = {name: value for name in _COUNTS if (value := getattr(later, name)) is not None}
        if later.others:
            changes["others"] = {**self.others, **later.others}
        return attrs.evolve(self, **changes)


_COUNTS = tuple(field.name for field in attrs.fields(Usage) if field.name != "others")


@frozen(eq=False, repr=False)
class Cost(Value):
    """The cost of an answer or of a call, in money.

    Args:
        amount: The amount, in `currency`; zero or more.
        currency: The currency, as a code of ISO 4217. Default `"USD"`.
        source: `"vendor"` for a cost from the service. Otherwise the source of the prices, such as the name of a catalogue;
            `"model"` for prices of the plugin or of the settings.
        date: The day of the prices, such as `"2026-05-01"`; `None`, the default, when unknown.
    """

    amount: Decimal
    currency: str = "USD"
    source: str = "model"
    date: str | None = None

    def __str__(self) -> str:
        return f"{self.amount:.6f} {self.currency}"


@frozen(eq=False, repr=False)
class Prices(Value):
    """The prices of a million tokens of one model, each zero or more. `None`, the default: the price is unknown.

    Args:
        input: The price of input tokens that no other price covers.
        output: The price of output tokens that no other price covers.
        cache_read: The price of input tokens that the service read from its cache.
        cache_write: The price of input tokens that the service wrote to its cache.
        input_audio: The price of input tokens that are audio.
        output_audio: The price of output tokens that are audio.
        output_image: The price of output tokens that are images.
        reasoning: The price of reasoning; `None`, the default: the price `output`.
        currency: The currency of all prices, as a code of ISO 4217.
        source: The list of prices, as in `Cost`.
        date: The day of the list, as in `Cost`.
        tiers: The prices of long prompts, as pairs: a number of input tokens, and the prices of longer requests.
        tariffs: The vendor's special tariffs, as pairs: the name, and the share of these prices; see `ProviderInfo`.
    """

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    input_audio: float | None = None
    output_audio: float | None = None
    output_image: float | None = None
    reasoning: float | None = None
    currency: str = "USD"
    source: str = "model"
    date: str | None = None
    tiers: tuple[tuple[int, Prices], ...] = ()
    tariffs: tuple[tuple[str, float], ...] = attrs.field(default=(), repr=False)

    def under(self, tariff: str) -> Prices | None:
        """Return the prices of a special tariff.

        Args:
            tariff: The tariff's name, such as `"batch"` or `"flex"`.

        Returns:
            The prices; `None` if the tariff is not known.
        """
        share = dict(self.tariffs).get(tariff)
        if share is None:
            return None
        amounts = {name: round(price * share, 9) for name in _AMOUNTS if (price := getattr(self, name)) is not None}
        scaled = ((tokens, attrs.evolve(prices, tariffs=self.tariffs).under(tariff)) for tokens, prices in self.tiers)
        tiers = tuple((tokens, prices) for tokens, prices in scaled if prices is not None)
        return attrs.evolve(self, **amounts, tiers=tiers, tariffs=(), source=f"{self.source}, {tariff}")

    def at(self, tokens: int) -> Prices:
        """Return the prices of one request.

        Args:
            tokens: The number of input tokens; zero or more.

        Returns:
            The prices of the highest tier below the number, or these prices.
        """
        fitting = [tier for tier in self.tiers if tokens > tier[0]]
        return max(fitting, key=lambda tier: tier[0])[1] if fitting else self

    def most(self, bound: Usage) -> Cost | None:
        """Return the highest possible cost of a request: each token at the highest known price of input or output.

        Args:
            bound: The maximum tokens of the prompt and of the answer.

        Returns:
            The upper bound; `None` when a price or a number of tokens is unknown.
        """
        if bound.input_tokens is None or bound.output_tokens is None or self.input is None:
            return None
        if bound.output_tokens and self.output is None:
            return None
        lists = [self, *(prices for tokens, prices in self.tiers if bound.input_tokens > tokens)]
        highest = [
            max(getattr(prices, name) or 0.0 for prices in lists for name in names)
            for names in (("input", "cache_write", "input_audio"), ("output", "reasoning", "output_audio", "output_image"))
        ]
        top = Prices(highest[0], highest[1], currency=self.currency, source=self.source, date=self.date)
        return cost_of(Usage(bound.input_tokens, bound.output_tokens), top)


_AMOUNTS = tuple(field.name for field in attrs.fields(Prices) if field.default is None and field.name != "date")


def cost_of(usage: Usage | None, prices: Prices | None) -> Cost | None:
    """Compute the cost of an answer; `None` if the counts are unknown, or some tokens have no known price.

    A cost from the service takes precedence over the prices.
    """
    if usage is None:
        return None
    if usage.cost is not None:
        return Cost(Decimal(str(usage.cost)), prices.currency if prices else "USD", "vendor")
    if prices is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    at = prices.at(usage.input_tokens)
    special = (
        (usage.cached_tokens or 0, at.cache_read),
        (usage.cache_write_tokens or 0, at.cache_write),
        (usage.input_audio_tokens or 0, at.input_audio),
    )
    rare = (
        (usage.output_audio_tokens or 0, at.output_audio),
        (usage.output_image_tokens or 0, at.output_image),
        (usage.reasoning_tokens or 0, at.output if at.reasoning is None else at.reasoning),
    )
    plain = usage.input_tokens - sum(count for count, _ in special), usage.output_tokens - sum(count for count, _ in rare)
    amount = Decimal(0)
    for count, price in (*special, *rare, (plain[0], at.input), (plain[1], at.output)):
        if count < 0 or (count and price is None):  # counts that contradict each other, or an unknown price
            return None
        amount += count * Decimal(str(price or 0)) / MILLION
    return Cost(amount, prices.currency, prices.source, prices.date)


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """Return the sum of costs; `None` if one is unknown, or the currencies differ.

    The sum has the source and date of the last cost.
    """
    found: Cost | None = None
    for cost in costs:
        if cost is None or (found is not None and found.currency != cost.currency):
            return None
        found = cost if found is None else attrs.evolve(cost, amount=found.amount + cost.amount)
    return found
