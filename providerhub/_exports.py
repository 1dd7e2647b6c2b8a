"""The public names of `providerhub` beside the values. The package imports them when its first attribute is read."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from providerhub._calling.around import GoOn
from providerhub._calling.many_outcome import Outcome
from providerhub._calling.stream import AsyncStream, Stream
from providerhub._default import (
    acomplete,
    acomplete_many,
    acount_tokens,
    aembed,
    complete,
    complete_many,
    count_tokens,
    embed,
    explain,
)
from providerhub._finding.views import InstanceView
from providerhub._hub import Hub
from providerhub._rules.status import error_from_status
from providerhub._settings.settings import Settings
from providerhub._values.value import publish
from providerhub._version import __version__
from providerhub.hookspecs import hookimpl

__all__ = [
    "AsyncStream", "GoOn", "Hub", "InstanceView", "Outcome", "Settings", "Stream", "__version__", "acomplete", "acomplete_many",
    "acount_tokens", "aembed", "complete", "complete_many", "count_tokens", "embed", "error_from_status", "explain", "hookimpl",
]  # fmt: skip

HINTS = {
    "Any": Any, "Callable": Callable, "ClassVar": ClassVar, "Decimal": Decimal, "Mapping": Mapping, "Sequence": Sequence,
}  # fmt: skip
"""Names in the annotations of public classes. `typing.get_type_hints` looks for them in the module that a class names."""

publish(globals())
