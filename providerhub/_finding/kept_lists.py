"""The model lists of services, kept on disk, so that a shell command need not ask each time.

A file holds the models of one service for one key, but no key and no prompt. Its name is a salted hash of the address, the key
and the other settings; the random salt is in the same folder. A disk that cannot be read or written causes no error.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs

from providerhub._log import log as _log
from providerhub._settings.settings import user_folder
from providerhub._values import ProviderConfig, Secret
from providerhub._values.capabilities import ModelInfo, ProviderInfo
from providerhub._values.errors import ConfigurationError

VARIABLE = "PROVIDERHUB_CACHE_DIR"  # the environment variable that names the folder
SIZE_LIMIT = 16 * 1024 * 1024  # bytes; a longer file is not read
_FORMAT = 1
_SALT_BYTES = 32
# The fields of a configuration that do not change the list.
_NOT_OF_THE_SERVICE = frozenset({"name", "plugin", "models", "priority", "weight", "origin"})


class KeptList(NamedTuple):
    """A list as `discover` returned it, and the moment of the listing in seconds of the wall clock."""

    models: tuple[ModelInfo, ...]
    listed_at: float


def read(config: ProviderConfig, info: ProviderInfo) -> KeptList | None:
    """Return the kept list of a service; `None` without one. A damaged or foreign file counts as none."""
    folder = _folder()
    try:
        path = folder and _path(folder, config, info, _own(os.path.join(folder, "salt")))
        return _parsed(_own(path)) if path else None
    except FileNotFoundError:
        return None
    except Exception as error:  # the file may hold anything
        _log.debug("the kept list of models of %s is ignored: %s", config.name, error)
        return None


def write(config: ProviderConfig, info: ProviderInfo, kept: KeptList) -> None:
    """Write the list of a service into the cache folder. A service without an address has no file."""
    try:
        folder = _folder()
        content = {"format": _FORMAT, "listed_at": kept.listed_at, "models": [_plain(model) for model in kept.models]}
        if folder and config.url and (path := _path(folder, config, info, _salt(folder))):
            _replace(path, json.dumps(content).encode())
    except (OSError, TypeError, ValueError, ConfigurationError) as error:
        _log.debug("the list of models of %s is not kept: %s", config.name, error)


def _folder() -> str | None:
    named = os.environ.get(VARIABLE)
    if named:
        path = os.path.expanduser(named)
        if not os.path.isabs(path):
            raise ConfigurationError(f"{VARIABLE} must be an absolute path, not {named!r}")
    else:
        path = user_folder("cache")
    # Without a home directory the path would begin with a bare `~`.
    return os.path.join(path, "models") if os.path.isabs(path) else None


def _own(path: str) -> bytes:
    """Read a file of this user that no other user may write."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        # Windows has no such function; the folders of a user are closed to others there.
        user = getattr(os, "geteuid", None)
        if user is not None and (status.st_uid != user() or status.st_mode & 0o022):
            raise ValueError("another user may have written it")
        if status.st_size > SIZE_LIMIT:
            raise ValueError(f"it is longer than {SIZE_LIMIT} bytes")
        return file.read(SIZE_LIMIT)


def _salt(folder: str) -> bytes:
    path = os.path.join(folder, "salt")
    try:
        salt = _own(path)
    except (OSError, ValueError):
        salt = b""
    if len(salt) != _SALT_BYTES:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _replace(path, os.urandom(_SALT_BYTES))
        salt = _own(path)  # another process may have replaced it
    return salt


def _replace(path: str, content: bytes) -> None:
    """Write a file that only this user can read. Readers see the old or the new content."""
    temporary = f"{path}.{os.urandom(8).hex()}"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _path(folder: str, config: ProviderConfig, info: ProviderInfo, salt: bytes) -> str | None:
    """The path of the file of a service; `None` if its address or key has no text for the hash."""
    fields = (field.name for field in attrs.fields(ProviderConfig) if field.name not in _NOT_OF_THE_SERVICE)
    # Vendors that share a function to list models read prices and abilities in their own ways.
    texts = [info.name, info.discover or "", *(_text(getattr(config, name)) for name in fields)]
    if None in texts or not config.url or len(salt) != _SALT_BYTES:
        return None
    import hashlib  # slow to import; most calls need no list

    name = hashlib.blake2b(repr(texts).encode("utf-8", "replace"), digest_size=16, key=salt).hexdigest()
    return os.path.join(folder, f"{name}.json")


def _text(value: Any) -> str | None:
    """A setting as text. For a key with a source, the text of the source: reading the key might run a command."""
    if isinstance(value, Mapping):
        texts = {str(key): _text(one) for key, one in value.items()}
        return None if None in texts.values() else repr(sorted(texts.items()))
    if not isinstance(value, Secret):
        return repr(value)
    if value.source is None:
        return value.reveal()
    slots = getattr(type(value.source), "__slots__", ())
    return repr([type(value.source).__name__, *(getattr(value.source, name) for name in slots)]) if slots else None


def _plain(model: ModelInfo) -> dict[str, Any]:
    """The fields of a model that differ from their defaults. Only plain values are accepted, since headers may hold a key."""
    bare = ModelInfo(model.name).__getstate__()
    fields = {name: value for name, value in model.__getstate__().items() if name == "name" or value != bare[name]}
    for name, value in fields.items():
        if not isinstance(value, str | int | float | tuple):
            raise ValueError(f"{model.name} has {name}")  # noqa: TRY004 -- the type is right, and not for the disk
    return fields


def _parsed(content: bytes) -> KeptList:
    """Parse a file. It may raise any error, since the file may hold anything."""
    found = json.loads(content)
    if found["format"] != _FORMAT or not 0 <= found["listed_at"] <= time.time() + 60.0:
        raise ValueError("it is of another format")
    return KeptList(tuple(ModelInfo(**entry) for entry in found["models"]), float(found["listed_at"]))
