"""The kit's checks, none of them waived."""

from providerhub_echo.conformance import EchoConformance


class TestEcho(EchoConformance):
    pass
