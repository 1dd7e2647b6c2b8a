"""Executors for the many calls of providerhub: a Dask cluster (`"dask://host:8786"`), and the processes of loky (`"loky:4"`)."""

from concurrent.futures import Executor

from providerhub import ConfigurationError

__all__ = ["open_dask", "open_loky"]


def open_dask(text: str, concurrency: int) -> Executor:  # noqa: ARG001 -- the interface of the group
    """Connect to a Dask cluster.

    Args:
        text: `"dask://host:8786"`; `"dask:tls://host:8786"` for another protocol; `"dask"` for the scheduler that Dask's own
            configuration names.
        concurrency: The maximum number of calls at once, which the cluster does not need.

    Returns:
        The executor; its `shutdown` closes the connection, not the cluster.

    Raises:
        ConfigurationError: The scheduler cannot be reached, or lacks this plugin.
    """
    from distributed import Client  # slow to import; a list of executors imports this module

    from providerhub_dask._executor import DaskExecutor

    address = text.partition(":")[2]
    try:
        client = Client(
            f"tcp:{address}" if address.startswith("//") else address or None, name="providerhub", set_as_default=False
        )
    except (OSError, ValueError) as error:
        msg = f"executor {text!r}: the scheduler cannot be reached ({error}); name it as in 'dask://host:8786'"
        raise ConfigurationError(msg) from error
    try:
        return DaskExecutor(client)
    except Exception as error:  # an error of the scheduler, whose environment may differ
        client.close()
        msg = f"executor {text!r}: install providerhub-dask where the scheduler runs ({type(error).__name__}: {error})"
        raise ConfigurationError(msg) from error


def open_loky(text: str, concurrency: int) -> Executor:
    """Start processes of loky, which also take functions of the main module.

    Args:
        text: `"loky"`, or `"loky:4"` for four processes.
        concurrency: The maximum number of calls at once. It is the number of processes if the text has no number.

    Returns:
        The executor. When a process is killed, all running calls are made once more in new processes.

    Raises:
        ConfigurationError: The text has no number after the colon, or loky is not installed.
    """
    count = text.partition(":")[2]
    if count and not (count.isdecimal() and int(count)):
        msg = f"executor {text!r}: the number of processes must be 1 or more, as in 'loky:4'"
        raise ConfigurationError(msg)
    try:
        from providerhub_dask._loky import Loky  # an extra of this distribution
    except ImportError as error:
        msg = f"executor {text!r} needs loky: pip install 'providerhub-dask[loky]'"
        raise ConfigurationError(msg) from error
    return Loky(int(count or concurrency))
