"""The kit's checks, none of them waived."""

from providerhub_anthropic.conformance import AnthropicConformance


class TestAnthropic(AnthropicConformance):
    pass
