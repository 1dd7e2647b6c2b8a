"""The families of models at Bedrock that can be asked for although the account may not list models.

Their names are declared as beginnings. The list of the service describes each model; see `_traits`.
"""

from providerhub import ModelInfo

_AREAS = ("us.", "eu.", "apac.", "jp.", "au.", "ca.", "us-gov.", "global.")
"""The beginnings of names of inference profiles: the area of a profile."""

_ABLE = ("amazon.nova-", "anthropic.claude-")
"""The families in which all models call tools and follow a schema."""

_OTHERS = (
    "ai21.", "amazon.titan-text", "arn:", "cohere.command", "deepseek.", "google.", "meta.llama", "minimax.", "mistral.",
    "moonshot", "nvidia.", "openai.", "qwen.", "writer.", "zai.",
)  # fmt: skip


def _beginning(name: str, able: bool | None = None) -> ModelInfo:  # noqa: FBT001 -- two capabilities
    return ModelInfo(f"{name}*", supports_stream=True, supports_tools=able, supports_json_schema=able)


MODELS = (
    *(ModelInfo(f"{family}*", supports_embeddings=True) for family in ("amazon.titan-embed-text", "cohere.embed")),
    *(_beginning(area + family, True) for family in _ABLE for area in ("", *_AREAS)),  # noqa: FBT003
    *map(_beginning, (*_AREAS, *_OTHERS)),
)
