"""The names of OpenTelemetry's conventions for generative AI, in one table for each version.

Source: https://github.com/open-telemetry/semantic-conventions, release 1.41.1, and for the announced names the migration guide of
https://github.com/open-telemetry/semantic-conventions-genai. All are marked as under development there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST = "gen_ai_latest_experimental"
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The bounds of the buckets of durations, in seconds."""

TOKENS = tuple(4**power for power in range(14))
"""The bounds of the buckets of token counts."""

PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai", "bedrock": "aws.bedrock", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "moonshot": "moonshot_ai", "vertex": "gcp.vertex_ai", "watsonx": "ibm.watsonx.ai", "xai": "x_ai",
}  # fmt: skip
"""Plugin → the value of `gen_ai.provider.name`, if it differs from the plugin's name."""


class Names(NamedTuple):
    """The names that differ between versions.

    Args:
        version: The version of the conventions.
        schema: The address of the schema; `None` without a release.
        duration: The metric of the seconds of an operation.
        first_chunk: The metric of the seconds to the first content of a stream.
        per_chunk: The metric of the seconds between two pieces of the content of a stream.
        tokens: The histogram of tokens with `gen_ai.token.type`; `None` if there are counters instead.
        counters: Field of `Usage` → the counter of these tokens.
        histograms: Field of `Usage` → the histogram of these tokens.
        cache_write: The attribute of the tokens that were written to a cache.
    """

    version: str
    schema: str | None
    duration: str
    first_chunk: str
    per_chunk: str
    tokens: str | None
    counters: Mapping[str, str]
    histograms: Mapping[str, str]
    cache_write: str


RELEASED = Names(
    "1.41.1",
    "https://opentelemetry.io/schemas/1.41.1",
    "gen_ai.client.operation.duration",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk",
    "gen_ai.client.token.usage",
    {},
    {},
    "gen_ai.usage.cache_creation.input_tokens",
)
_USAGE = "gen_ai.client.inference.usage"
ANNOUNCED = Names(
    "announced",
    None,
    "gen_ai.client.inference.duration",
    "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai.client.inference.time_per_output_chunk",
    None,
    {
        "input_tokens": f"{_USAGE}.input_tokens",
        "output_tokens": f"{_USAGE}.output_tokens",
        "cached_tokens": f"{_USAGE}.cache_read.input_tokens",
        "cache_write_tokens": f"{_USAGE}.cache_write.input_tokens",
        "reasoning_tokens": f"{_USAGE}.reasoning.output_tokens",
    },
    {
        "input_tokens": "gen_ai.client.inference.operation.input_tokens",
        "output_tokens": "gen_ai.client.inference.operation.output_tokens",
    },
    "gen_ai.usage.cache_write.input_tokens",
)


def chosen(environ: Mapping[str, str]) -> Names:
    """The names that the environment selects.

    Args:
        environ: The environment variables by name.
    """
    wanted = {word.strip() for word in environ.get(OPT_IN, "").split(",")}
    return ANNOUNCED if LATEST in wanted else RELEASED


def content(environ: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether spans and events hold the content of calls.

    Args:
        environ: The environment variables by name.

    Raises:
        ValueError: The variable has an unknown value.
    """
    known = {
        "": (False, False),
        "NO_CONTENT": (False, False),
        "SPAN_ONLY": (True, False),
        "EVENT_ONLY": (False, True),
        "SPAN_AND_EVENT": (True, True),
    }
    value = environ.get(CONTENT, "").strip().upper()
    if value not in known:
        raise ValueError(f"{CONTENT} must be one of {', '.join(filter(None, known))}, not {value!r}")
    return known[value]
