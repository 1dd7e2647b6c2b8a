"""Lists the models of `llm` as providerhub's `ModelInfo`."""

from __future__ import annotations

import llm

from providerhub import ModelInfo, ProviderConfig


def discover(config: ProviderConfig) -> list[ModelInfo]:
    """List the models of `llm` and its plugins.

    Args:
        config: The instance's configuration; not used.

    Returns:
        An entry for each model, with its aliases. An alias of two models goes to the first.
    """
    del config
    taken = {entry.model.model_id for entry in llm.get_models_with_aliases()}
    found: list[ModelInfo] = []
    for entry in llm.get_models_with_aliases():
        aliases = tuple(alias for alias in dict.fromkeys(entry.aliases) if alias not in taken)
        taken.update(aliases)
        found.append(_info(entry.model, aliases))
    return found


def _info(model: llm.Model, aliases: tuple[str, ...]) -> ModelInfo:
    return ModelInfo(
        model.model_id,
        aliases=aliases,
        supports_stream=bool(model.can_stream),
        supports_tools=bool(model.supports_tools),
        supports_images=any(kind.startswith("image/") for kind in model.attachment_types or ()),
        supports_json_schema=bool(model.supports_schema),
        supports_prefill=False,
    )
