"""The fixtures of this plugin's tests."""

import types

import attrs
import pytest


@pytest.fixture
def with_fields():
    """Add fields to a request, as a core has them whose keywords are more than those of the oldest one that the plugin takes."""

    def make(request, **fields):
        own = {field.name: getattr(request, field.name) for field in attrs.fields(type(request))}
        return types.SimpleNamespace(**{**own, **fields})

    return make
