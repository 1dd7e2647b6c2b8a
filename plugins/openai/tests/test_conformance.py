"""The kit's checks, none of them waived."""

from providerhub_openai.conformance import AzureConformance, OpenAIConformance, ResponsesConformance


class TestOpenAI(OpenAIConformance):
    pass


class TestResponses(ResponsesConformance):
    pass


class TestAzure(AzureConformance):
    pass
