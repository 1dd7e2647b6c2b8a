"""The snapshot: a text with one line for each model, which is searched and not parsed as a whole."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from providerhub import ModelInfo

NAME = "models.txt"
FORMAT = "# providerhub-catalog 1, from models.dev "
VARIABLE = "PROVIDERHUB_CACHE_DIR"  # the environment variable that names the core's folder for lists of models
SIZE_LIMIT = 16 * 1024 * 1024  # bytes; a longer file is not read
# The letters of a line for capabilities: a capital letter stands for yes, a small letter for no.
ABILITIES = {
    "t": "supports_tools",
    "j": "supports_json_schema",
    "i": "supports_images",
    "a": "supports_audio",
    "f": "supports_files",
    "r": "supports_reasoning",
    "e": "supports_embeddings",
}
# The numbers of a line, after the letters.
PRICES = ("price_in", "price_out", "price_cache_read", "price_cache_write")
NUMBERS = ("context_window", *PRICES, "max_output_tokens", "price_in_audio", "price_out_audio")
# After the numbers come the prices of long prompts: `above:price:price…`, in the order of `PRICES`, joined by semicolons.
# A provider's name → the vendor's name at models.dev, if the names differ.
VENDORS = {
    "anthropic-bedrock": "amazon-bedrock",
    "anthropic-vertex": "google-vertex-anthropic",
    "bedrock": "amazon-bedrock",
    "bedrock-mantle": "amazon-bedrock",
    "cloudflare": "cloudflare-workers-ai",
    "fireworks": "fireworks-ai",
    "gemini": "google",
    "github": "github-models",
    "moonshot": "moonshotai",
    "novita": "novita-ai",
    "snowflake": "snowflake-cortex",
    "together": "togetherai",
    "vertex": "google-vertex",
    "zhipu": "zhipuai",
}
# Parts of a model's name that do not change its abilities: a region at Amazon Bedrock, a date, a version.
_AROUND = r"^(?:us|us-gov|eu|apac|jp|au|ca|global)\.(?=.+\.)|(?:-\d{8}|-\d{4}-\d\d-\d\d|-latest|@.+)$"


class Snapshot:
    """The text of a snapshot.

    Args:
        text: The text, as `build` writes it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.date = text.removeprefix(FORMAT)[:10] if text.startswith(FORMAT) else ""

    def find(self, provider: str, model: str) -> ModelInfo | None:
        """Describe a model; `None` if the vendor or the model has no entry.

        Args:
            provider: The name of a provider plugin, or of the vendor at models.dev.
            model: The model's name at the vendor. Without an entry of its own, a dated, regional or tuned form has the abilities
                of its base and no prices.
        """
        start = self._text.find(f"\n[{VENDORS.get(provider, provider)}]\n")
        if start < 0:
            return None
        end = self._text.find("\n[", start + 2)
        line = self._line(model, start, end)
        if line:
            return self._described(model, line)
        bare = _bare(model)
        line = self._line(bare, start, end) if bare != model else ""
        return self._described(model, line, prices=False) if line else None

    def _line(self, model: str, start: int, end: int) -> str:
        place = self._text.find(f"\n{model}\t", start, end if end >= 0 else None)
        return self._text[place + 1 : self._text.find("\n", place + 1)] if place >= 0 else ""

    def _described(self, model: str, line: str, *, prices: bool = True) -> ModelInfo:
        _, letters, *numbers = line.split("\t")
        known: dict[str, Any] = {ABILITIES[letter.lower()]: letter.isupper() for letter in letters}
        known |= {name: float(text) for name, text in zip(NUMBERS, numbers, strict=False) if text}
        known |= {name: int(known[name]) for name in ("context_window", "max_output_tokens") if name in known}
        if tiers := "".join(numbers[len(NUMBERS) :]):
            known["price_tiers"] = tuple(map(_tier, tiers.split(";")))
        if not prices:
            known = {name: value for name, value in known.items() if not name.startswith("price_")}
        return ModelInfo(model, source=f"models.dev {self.date}", **known)


@cache
def snapshot() -> Snapshot:
    """The newer snapshot: the packaged one, or the one from `providerhub catalog --refresh`. Read once."""
    packaged, own = Snapshot(Path(__file__).with_name(NAME).read_text("utf-8")), Snapshot(_own())
    return own if own.date > packaged.date else packaged


def own_path() -> Path | None:
    """The path of the user's own snapshot; `None` if the user has no folder for it."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        from platformdirs import user_cache_dir  # not needed when the variable is set

        folder = user_cache_dir("providerhub", appauthor=False)
    path = Path(folder).expanduser()
    return path / "catalog" / NAME if path.is_absolute() else None


def _own() -> str:
    try:
        path = own_path()
        return path.read_text("utf-8") if path and path.stat().st_size <= SIZE_LIMIT else ""
    except (OSError, ValueError, RuntimeError):  # no file, a foreign file, or no home directory
        return ""


def _tier(text: str) -> dict[str, float]:
    above, *prices = text.split(":")
    return {"above": int(above), **{name: float(price) for name, price in zip(PRICES, prices, strict=False) if price}}


def _bare(model: str) -> str:
    """The name without a date, a region, or the marks of a tuned model such as `ft:gpt-4o:acme::id`."""
    if model.startswith("ft:"):
        model = model.split(":")[1]
    return re.sub(_AROUND, "", model)
