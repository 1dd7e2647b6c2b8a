"""Abilities and prices of models, if their providers do not state them. This module is light; the data are read on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providerhub import hookimpl

if TYPE_CHECKING:
    from providerhub import ModelInfo


class Prices:
    """The prices of the package genai-prices, which take precedence over the snapshot."""

    @hookimpl(tryfirst=True)
    def providerhub_model(self, provider: str, model: str) -> ModelInfo | None:
        """Describe a model by its prices; `None` if genai-prices is not installed or does not know the model."""
        from providerhub_catalog._prices import found

        return found(provider, model)


prices = Prices()


@hookimpl
def providerhub_model(provider: str, model: str) -> ModelInfo | None:
    """Describe a model by its entry in the snapshot of models.dev."""
    from providerhub_catalog._snapshot import snapshot

    return snapshot().find(provider, model)
