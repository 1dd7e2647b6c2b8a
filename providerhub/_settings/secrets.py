"""The sources of a key: an environment variable, a file, a command, the system's keyring.

No error may show a key, not even in the local variables of its traceback. So these errors are raised in frames without the key,
and outside `except` blocks, so that no exception with a key becomes their context.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from providerhub._values.errors import ConfigurationError

COMMAND_SECONDS = 10.0  # the default timeout of a command that prints a key
_FILE_LIMIT = 65536  # bytes; a longer file does not hold a key


def is_quoted(text: object) -> bool:
    """Whether a text begins and ends with the same quotation mark."""
    return isinstance(text, str) and len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] and text.strip()[0] in "\"'"


class _Source:
    """Base of the sources. It is not a value class, since value classes take time at import."""

    __slots__: tuple[str, ...] = ()
    message = "the key could not be read: {source} {failure}"
    _find: Callable[[], tuple[str, str]]  # returns an error message, empty on success, and the key

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def read(self) -> str:
        """Return the key. No error has the output of a command."""
        failure, key = self._find()
        if not failure:
            return key
        del key
        raise ConfigurationError(self.message.format(source=self, failure=failure))

    def flaw(self) -> str:
        """Return the reason why the source has no key; else empty."""
        try:
            return self._find()[0]
        except OSError as error:
            return f"cannot be read now: {error.strerror}"


def _raise_shortage(error: Exception) -> None:
    """Raise the error of a process without a file descriptor left. The source is not wrong, and the call waits."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        raise error


class EnvironmentKey(_Source):
    """A key in an environment variable."""

    __slots__ = ("name",)
    message = "the {source}, which should hold a key, {failure}"

    def __init__(self, name: str) -> None:
        self.name = name

    def _find(self) -> tuple[str, str]:
        return ("", os.environ[self.name]) if os.environ.get(self.name) else ("is not set", "")

    def __str__(self) -> str:
        return f"environment variable {self.name}"


class FileKey(_Source):
    """A key in a file, without the line breaks at its end. `named_at` is its place in the settings, `"file:line"`."""

    __slots__ = ("named_at", "path")
    message = "{source.where}the key {source} {failure}"

    def __init__(self, path: str, named_at: str = "") -> None:
        self.path = path
        self.named_at = named_at

    @property
    def where(self) -> str:
        """The beginning of a message."""
        return f"{self.named_at}: " if self.named_at else ""

    def _find(self) -> tuple[str, str]:
        try:
            with open(self.path, "rb") as file:
                content = file.read(_FILE_LIMIT + 1)
            key = content.decode("utf-8-sig").rstrip("\r\n")
        except OSError as error:
            _raise_shortage(error)
            return f"cannot be read ({error.strerror or type(error).__name__}); correct the path, or its permissions", ""
        except UnicodeDecodeError:
            return "holds no UTF-8 text; is it the right file?", ""
        if len(content) > _FILE_LIMIT:
            return f"is larger than {_FILE_LIMIT} bytes; is it the right file?", ""
        if is_quoted(key):
            return "holds quotation marks around the key, which would be sent with it; remove them", ""
        return ("", key) if key.strip() else ("is empty; write the key into it", "")

    def __str__(self) -> str:
        return f"file {self.path}"


class CommandKey(_Source):
    """A key in the first line of a command's output. No shell runs the command; it is stopped after `timeout` seconds."""

    __slots__ = ("command", "timeout")
    message = f"{_Source.message}; run it by hand to see why"

    def __init__(self, command: tuple[str, ...], timeout: float = COMMAND_SECONDS) -> None:
        self.command = command
        self.timeout = timeout

    def _find(self) -> tuple[str, str]:
        import subprocess  # slow to import, and needed for a command only

        try:
            # Standard error is not shown either: a password manager may print secrets when it fails.
            child = subprocess.Popen(  # noqa: S603 -- the user's own settings name the command, and no shell runs it
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except (OSError, ValueError) as error:
            _raise_shortage(error)
            return f"cannot be run ({getattr(error, 'strerror', None) or type(error).__name__})", ""
        with child:
            try:
                printed = child.communicate(timeout=self.timeout)[0]
            except subprocess.TimeoutExpired:
                child.kill()
                return f"took longer than {self.timeout:g} s", ""
            except BaseException:
                child.kill()
                child.wait()  # after Ctrl-C, the `with` block does not wait for the child
                raise
        if child.returncode:
            return f"ended with exit status {child.returncode}", ""
        try:
            key = printed.partition(b"\n")[0].strip().decode()
        except UnicodeDecodeError:
            return "printed what is not UTF-8 text", ""
        if is_quoted(key):
            return "printed the key in quotation marks, which would be sent with it", ""
        return ("", key) if key else ("printed an empty first line", "")

    def __str__(self) -> str:
        # The arguments are left out: one of them may be a token.
        return f"command {os.path.basename(self.command[0])!r}"


class KeyringKey(_Source):
    """A key in the system's keyring, read through the extra `keyring`. Without a user name, any user of the service counts."""

    __slots__ = ("service", "username")
    message = "the key could not be read from the {source}: {failure}"

    def __init__(self, service: str, username: str | None = None) -> None:
        self.service = service
        self.username = username

    def _find(self) -> tuple[str, str]:
        try:
            keyring: Any = import_module("keyring")
        except ImportError:
            return 'it needs: pip install "providerhub[keyring]"', ""
        try:
            if self.username is not None:
                key = keyring.get_password(self.service, self.username)
            else:
                key = getattr(keyring.get_credential(self.service, None), "password", None)
        except Exception as error:  # a backend may raise any exception, with the key in its message
            return f"the keyring answered with {type(error).__name__}; see whether `keyring get` works", ""
        if not key:
            return f"there is no such entry; make it with: keyring set {self.service} {self.username or 'USER'}", ""
        return "", str(key)

    def __str__(self) -> str:
        return f"keyring, service {self.service!r}" + (f", user {self.username!r}" if self.username else "")
