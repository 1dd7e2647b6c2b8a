"""The kit's checks, none of them waived."""

from providerhub_bedrock.conformance import BedrockConformance


class TestBedrock(BedrockConformance):
    pass
