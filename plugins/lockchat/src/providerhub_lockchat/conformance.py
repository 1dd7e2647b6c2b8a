"""The conformance suite that `providerhub conformance lockchat` runs. It needs the package `providerhub-conformance`."""

from providerhub_conformance import OpenAIChatWire, ProviderConformance


class LockchatConformance(ProviderConformance):
    """All checks of the conformance kit, for this provider."""

    provider = "lockchat"
    wire = OpenAIChatWire()
