"""The sources of a key: an environment variable, a file, a command, the system's keyring.

No error may show a key, not even in the local variables of its traceback. So the errors here are raised in frames that do not
hold the key any more, and outside of `except` blocks, so that no exception with a key becomes their context.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from providerhub._values.errors import ConfigurationError

COMMAND_SECONDS = 10.0
"""The default timeout of a command that prints a key."""

_FILE_LIMIT = 65536
"""Bytes; a longer file does not hold a key."""


def is_quoted(text: object) -> bool:
    """Whether a text begins and ends with the same quotation mark.

    Args:
        text: The value; anything but a text is not quoted.
    """
    return isinstance(text, str) and len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] and text.strip()[0] in "\"'"


class _Source:
    """Base of the sources. Not a value class: each one takes time at import, and few programs have a settings file."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class EnvironmentKey(_Source):
    """A key in an environment variable.

    Args:
        name: The name of the variable.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> str:
        """Return the value of the variable.

        Raises:
            ConfigurationError: The variable is not set, or empty.
        """
        if os.environ.get(self.name):
            return os.environ[self.name]
        msg = f"the environment variable {self.name}, which should hold a key, is not set"
        raise ConfigurationError(msg)

    def __str__(self) -> str:
        return f"environment variable {self.name}"


class FileKey(_Source):
    """A key in a file of its own, such as a secret that a container gets.

    Args:
        path: The path of the file.
        named_at: The place of the path in the settings, `"file:line"`, for messages; empty for none.
    """

    __slots__ = ("named_at", "path")

    def __init__(self, path: str, named_at: str = "") -> None:
        self.path = path
        self.named_at = named_at

    def read(self) -> str:
        """Return the text of the file, without the line breaks at its end.

        Raises:
            ConfigurationError: The file is missing, unreadable, too large or empty, or holds no UTF-8 text.
        """
        failure, key = _from_file(self.path)
        if not failure:
            return key
        del key
        where = f"{self.named_at}: " if self.named_at else ""
        msg = f"{where}the key file {self.path} {failure}"
        raise ConfigurationError(msg)

    def flaw(self) -> str:
        """Return the reason why the file gives no key; empty when it gives one."""
        return _from_file(self.path)[0]

    def __str__(self) -> str:
        return f"file {self.path}"


class CommandKey(_Source):
    """A key that a command prints, such as a password manager. The command runs without a shell.

    Args:
        command: The program and its arguments.
        timeout: Seconds after which the command is stopped; a positive number, default 10.
    """

    __slots__ = ("command", "timeout")

    def __init__(self, command: tuple[str, ...], timeout: float = COMMAND_SECONDS) -> None:
        self.command = command
        self.timeout = timeout

    def read(self) -> str:
        """Return the first line that the command prints.

        Raises:
            ConfigurationError: The command cannot be run, failed, took too long, or printed nothing. No message has its output.
        """
        failure, key = _first_line(self.command, self.timeout)
        if not failure:
            return key
        del key
        msg = f"the key could not be read: {self} {failure}; run it by hand to see why"
        raise ConfigurationError(msg)

    def __str__(self) -> str:
        # Without its arguments: one of them may be a token.
        return f"command {os.path.basename(self.command[0])!r}"


class KeyringKey(_Source):
    """A key in the system's keyring, read through the extra `keyring`.

    Args:
        service: The name of the service in the keyring.
        username: The name of the user in the keyring; `None`, the default, for any user that the keyring has for the service.
    """

    __slots__ = ("service", "username")

    def __init__(self, service: str, username: str | None = None) -> None:
        self.service = service
        self.username = username

    def read(self) -> str:
        """Return the password from the keyring.

        Raises:
            ConfigurationError: The extra is not installed, the keyring cannot be opened, or it has no such entry.
        """
        failure, key = _from_keyring(self.service, self.username)
        if not failure:
            return key
        del key
        msg = f"the key could not be read from the {self}: {failure}"
        raise ConfigurationError(msg)

    def __str__(self) -> str:
        return f"keyring, service {self.service!r}" + (f", user {self.username!r}" if self.username else "")


def _from_file(path: str) -> tuple[str, str]:
    """Return an error message, empty on success, and the content of a file."""
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_LIMIT + 1)
        key = content.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__}); correct the path, or its permissions", ""
    except UnicodeDecodeError:
        return "holds no UTF-8 text; is it the right file?", ""
    if len(content) > _FILE_LIMIT:
        return f"is larger than {_FILE_LIMIT} bytes; is it the right file?", ""
    if is_quoted(key):
        return "holds quotation marks around the key, which would be sent with it; remove them", ""
    return ("", key) if key.strip() else ("is empty; write the key into it", "")


def _first_line(command: tuple[str, ...], timeout: float) -> tuple[str, str]:
    """Return an error message, empty on success, and the first line that the command printed."""
    import subprocess  # slow to import, and needed for a command only

    try:
        # Standard error is not shown either: a password manager may print secrets when it fails.
        child = subprocess.Popen(  # noqa: S603 -- the user's own settings name the command, and no shell runs it
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except (OSError, ValueError) as error:
        return f"cannot be run ({getattr(error, 'strerror', None) or type(error).__name__})", ""
    with child:
        try:
            printed = child.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            return f"took longer than {timeout:g} s", ""
        except BaseException:
            child.kill()
            child.wait()  # after Ctrl-C, the end of the `with` block does not wait
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


def _from_keyring(service: str, username: str | None) -> tuple[str, str]:
    """Return an error message, empty on success, and the password."""
    try:
        keyring: Any = import_module("keyring")
    except ImportError:
        return 'it needs: pip install "providerhub[keyring]"', ""
    try:
        if username is not None:
            key = keyring.get_password(service, username)
        else:
            key = getattr(keyring.get_credential(service, None), "password", None)
    except Exception as error:  # a backend may raise any exception, with the key in its message
        return f"the keyring answered with {type(error).__name__}; see whether `keyring get` works", ""
    if not key:
        who = username or "USER"
        return f"there is no such entry; make it with: keyring set {service} {who}", ""
    return "", str(key)
