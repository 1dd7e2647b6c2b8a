"""The kit's checks."""

from providerhub import ModelInfo
from providerhub.testing.conformance import OpenAIChatWire, ProviderConformance


class TestOpenAI(ProviderConformance):
    provider = "openai"
    wire = OpenAIChatWire()
    model = ModelInfo(
        "conformance", supports_stream=True, supports_tools=True, supports_images=True, supports_json_schema=True
    )  # fmt: skip
