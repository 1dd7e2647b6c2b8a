"""The kit's checks, none of them waived."""

from providerhub_ollama.conformance import OllamaConformance


class TestOllama(OllamaConformance):
    pass
