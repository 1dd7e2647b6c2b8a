"""The kit's checks, none of them waived."""

from providerhub_lockchat.conformance import LockchatConformance


class TestLockchat(LockchatConformance):
    pass
