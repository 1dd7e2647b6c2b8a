"""Call many language-model providers through one function, with a retry chain that is honest about failure.

`_exports` holds the public names, and is imported when a public name is first used (PEP 562): the command line's help and
completion import this package, but need no public name. Type checkers read `__init__.pyi`.
"""

from importlib import import_module as _import_module

from providerhub._version import __version__ as __version__


def __getattr__(name: str) -> object:
    if name.startswith("__") and name != "__all__":  # the interpreter and tools look for such names
        raise AttributeError(_unknown(name))
    exports = _import_module("providerhub._finding.installed").import_object("providerhub._exports")
    values = _import_module("providerhub._values")
    globals().update({export: getattr(exports, export) for export in exports.__all__} | exports.HINTS)
    globals()["__all__"] = exports.__all__ + values.__all__
    if name in values.__all__:
        getattr(values, name)
    globals().update(values.loaded())  # all loaded names, for the annotations that use them
    try:
        return globals()[name]
    except KeyError:
        raise AttributeError(_unknown(name)) from None


def __dir__() -> list[str]:
    __getattr__("__all__")
    return sorted({*globals(), *globals()["__all__"]} - _import_module("providerhub._exports").HINTS.keys())


# Names of other libraries, and the name that each is here.
_ELSEWHERE = {
    "completion": "complete", "acompletion": "acomplete", "batch_completion": "complete_many", "embedding": "embed",
    "aembedding": "aembed", "token_counter": "count_tokens", "get_model": "complete", "Router": "Hub", "Client": "Hub",
    "OpenAI": "Hub", "AsyncOpenAI": "Hub", "Anthropic": "Hub", "APIConnectionError": "ProviderConnectionError",
    "APIError": "ProviderError", "APITimeoutError": "ProviderTimeoutError",
}  # fmt: skip


def _unknown(name: str) -> str:
    hint = f"; did you mean {_ELSEWHERE[name]!r}?" if name in _ELSEWHERE else ""
    return f"module {__name__!r} has no attribute {name!r}{hint}"


def _packed() -> None:
    """Never called: the makers of frozen applications find modules by their import statements."""
    import providerhub._exports  # noqa: F401 -- see above
