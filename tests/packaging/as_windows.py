"""Remove the functions that Windows lacks from this process, then run a program in it.

    python as_windows.py -m MODULE [ARGUMENT ...]
    python as_windows.py -c CODE [ARGUMENT ...]

`os.name` and the paths stay those of the system: `pathlib` does not work otherwise.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.process  # Windows has the modules that this imports
import contextlib
import errno
import importlib
import os
import runpy
import select
import selectors
import signal
import socket
import ssl
import stat
import subprocess
import sys
import sysconfig
import types
import warnings
from pathlib import Path

MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
"""The import fails."""

OS = (
    "chown", "chroot", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg",
    "getpgid", "getpgrp", "getpriority", "getresuid", "getsid", "getuid", "killpg", "lchown", "mkfifo", "mknod", "nice",
    "openpty", "posix_spawn", "posix_spawnp", "pread", "pwrite", "register_at_fork", "sched_getaffinity", "sendfile", "setegid",
    "seteuid", "setgid", "setpgid", "setsid", "setuid", "statvfs", "sync", "sysconf", "tcgetpgrp", "ttyname", "uname", "wait",
    "wait3", "wait4", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK",
)  # fmt: skip
SIGNAL = ("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigwait")
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
SOCKET = ("AF_UNIX", "MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT")
SELECT = ("devpoll", "epoll", "kqueue", "poll")

# Third-party modules choose their branches at the first import, and the branches for Windows do not work here.
THIRD_PARTY = ("certifi", "click", "keyring", "platformdirs", "pytest", "requests", "rich.console", "rich.progress", "urllib3")


def take_away() -> None:
    """Remove modules, functions and constants."""
    for name in THIRD_PARTY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    fcntl = importlib.import_module("fcntl")
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, OS), (signal, SIGNAL), (socket, SOCKET), (select, SELECT)):
        for name in names:
            with contextlib.suppress(AttributeError):
                delattr(module, name)
    for name in [name for name in vars(signal) if name.startswith("SIG") and name not in SIGNALS]:
        delattr(signal, name)
    for name in ("EpollSelector", "PollSelector", "KqueueSelector", "DevpollSelector"):
        with contextlib.suppress(AttributeError):
            delattr(selectors, name)
    sys.modules["msvcrt"] = _msvcrt(fcntl)


def behave_otherwise() -> None:
    """Give functions that both systems have the behaviour of Windows."""
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc,assignment]
    socket.socketpair = _socketpair  # type: ignore[assignment]
    subprocess._USE_POSIX_SPAWN = False  # type: ignore[attr-defined]
    subprocess.Popen.kill = lambda self: os.kill(self.pid, 9)  # type: ignore[method-assign]
    change_mode = os.chmod
    os.chmod = lambda path, mode, **knobs: change_mode(path, 0o666 if mode & stat.S_IWRITE else 0o444, **knobs)
    for name in ("remove", "unlink", "rename", "replace"):
        setattr(os, name, _refused_while_open(getattr(os, name)))
    # On Windows, the encoding of the locale is seldom UTF-8.
    warnings.filterwarnings("error", category=EncodingWarning, module="providerhub")
    ssl.enum_certificates = lambda _store: []  # type: ignore[attr-defined]
    sys.platform = "win32"


def _msvcrt(fcntl) -> types.ModuleType:
    module = types.ModuleType("msvcrt")

    def locking(number: int, mode: int, _count: int) -> None:
        assert mode == module.LK_NBLCK
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module.LK_NBLCK, module.locking = 2, locking  # type: ignore[attr-defined]
    return module


def _socketpair(*_: object) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def _refused_while_open(function):
    """Refuse to remove, rename or replace an open file, if the system lists open files."""

    def guarded(*paths, **knobs):
        opened = set()
        for link in Path("/proc/self/fd").glob("*"):
            with contextlib.suppress(OSError):
                opened.add(str(link.readlink()))
        for path in paths:
            if os.path.realpath(path) in opened:
                raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))
        return function(*paths, **knobs)

    return guarded


if __name__ == "__main__":
    assert asyncio  # imported before its selectors go
    assert concurrent
    with contextlib.suppress(ImportError):
        importlib.import_module("psutil")  # it has a binary for each system, and refuses the name of another system
    sysconfig.get_config_vars()  # read from a module with the platform in its name
    how, what, *rest = sys.argv[1:]
    take_away()
    behave_otherwise()
    sys.argv = [what, *rest]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
