"""A provider for models that Ollama runs, on this machine, on another one or at ollama.com."""

from providerhub import ProviderConnectionError, ProviderInfo, Setting, hookimpl

URL = "http://127.0.0.1:11434"
"""The default address: a server on this machine."""

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 -- it is what is replaced
"""Hosts on which a server listens → the host to which a client connects."""

__all__ = ["URL", "address", "count", "is_absent", "providerhub_provider"]


def address(host: str) -> str:
    """Return the address of a server in each form that Ollama knows.

    Args:
        host: A host, a colon and a port, both, or an address with its scheme. Without a scheme, the port is 11434 by default.

    Raises:
        ValueError: The address is for another API of the same server.
    """
    scheme, mark, rest = host.strip().rpartition("://")
    place, slash, path = rest.partition("/")
    name, colon, port = place.rpartition(":")
    if not colon or "]" in port:
        name, port = place, ""
    port = port or ("" if mark else "11434")
    whole = f"{scheme or 'http'}://{_ANY.get(name, name)}{':' * bool(port)}{port}{slash}{path}".rstrip("/")
    if whole.endswith("/v1"):
        raise ValueError("the url ends with /v1, where the server speaks another protocol; remove that part")
    return whole.removesuffix("/api")


def count(number: str | int) -> int:
    """Return a number of tokens.

    Args:
        number: The number, which may be a text.

    Raises:
        ValueError: The value is not a whole number of at least 1.
    """
    if not str(number).isdecimal() or int(number) < 1:
        raise ValueError(f"num_ctx must be a whole number of at least 1, not {number!r}")
    return int(number)


def is_absent(error: Exception, url: str | None) -> bool:
    """Return whether an error means that no server runs at the usual address.

    Args:
        error: The error of a request.
        url: The address that was asked.
    """
    return isinstance(error, ProviderConnectionError) and url == URL


@hookimpl
def providerhub_provider() -> ProviderInfo:
    """Declare the provider. It declares no models: the server lists them."""
    return ProviderInfo(
        name="ollama",
        factory="providerhub_ollama.provider:Ollama",
        discover="providerhub_ollama.provider:Ollama.discover",
        settings=(
            Setting("url", env="OLLAMA_HOST", default=URL, convert=address, help="The server's address"),
            Setting("api_key", env="OLLAMA_API_KEY", secret=True, help="Sent as a bearer token; ollama.com needs a key"),
            Setting("num_ctx", env="OLLAMA_CONTEXT_LENGTH", convert=count, help="Tokens of prompt and answer together"),
            Setting("keep_alive", help="How long a model stays loaded, such as '10m'. The server's default: mostly 5 minutes"),
        ),
        slow_start=True,
        description="Models that Ollama runs",
    )
