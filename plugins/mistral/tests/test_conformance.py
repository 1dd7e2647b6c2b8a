"""The kit's checks, none of them waived."""

from providerhub_mistral.conformance import MistralConformance


class TestMistral(MistralConformance):
    pass
