"""The conformance suite that `providerhub conformance openai` runs. It needs the package `providerhub-conformance`."""

from providerhub import ModelInfo
from providerhub_conformance import OpenAIChatWire, ProviderConformance


class OpenAIConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "openai"
    wire = OpenAIChatWire()
    model = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True)
