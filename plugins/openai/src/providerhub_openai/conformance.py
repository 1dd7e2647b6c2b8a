"""What `providerhub conformance openai` runs; needs `providerhub-conformance`."""

from providerhub import ModelInfo
from providerhub_conformance import OpenAIChatWire, ProviderConformance


class OpenAIConformance(ProviderConformance):
    """The kit's checks of this provider."""

    provider = "openai"
    wire = OpenAIChatWire()
    model = ModelInfo("conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True)
