"""The kit's checks, none of them waived."""

from providerhub_anthropic.conformance import AnthropicConformance, BedrockConformance, VertexConformance


class TestAnthropic(AnthropicConformance):
    pass


class TestBedrock(BedrockConformance):
    pass


class TestVertex(VertexConformance):
    pass
