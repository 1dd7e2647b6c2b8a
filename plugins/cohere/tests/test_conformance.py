"""The kit's checks, none of them waived."""

from providerhub_cohere.conformance import CohereConformance


class TestCohere(CohereConformance):
    pass
