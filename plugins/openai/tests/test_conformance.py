"""The kit's checks, none of them waived."""

from providerhub_openai.conformance import OpenAIConformance


class TestOpenAI(OpenAIConformance):
    pass
