"""The commands `providerhub conformance` and `providerhub new-plugin`."""
