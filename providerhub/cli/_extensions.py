"""Commands that other distributions add: entry-point group `providerhub.commands`, a name → `module:command`.

The metadata of the installed distributions is read for the overview. A command is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from providerhub._finding.installed import import_object, offered

GROUP = "providerhub.commands"


class Extension(NamedTuple):
    """A command by its entry point. It is unusable when several distributions offer one of this name."""

    name: str
    target: str
    distributions: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command's line in the overview."""
        return f"Unusable: {self._conflict}." if self._conflict else f"Added by {self.distributions[0]}."

    @property
    def _conflict(self) -> str:
        several = len(self.distributions) > 1
        return f"offered by {' and '.join(self.distributions)}; uninstall one of them" if several else ""

    def command(self) -> click.Command:
        """Import the command; raises `PluginError` for one that cannot be used."""
        reason, cause = self._conflict, None
        if not reason:
            try:
                found = import_object(self.target)
                if isinstance(found, click.Command):
                    return found
                reason = f"{self.target} is not a click command, but of type {type(found).__name__}"
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a distribution may raise anything at import, SystemExit included
                reason, cause = f"importing {self.target} raised {type(error).__name__}: {error}", error
        from providerhub import PluginError  # the help must not wait for the core

        owner = self.distributions[0]
        raise PluginError(f"the command {self.name!r} of {owner} cannot be used: {reason}", plugin=owner) from cause


def entries(group: str) -> Iterator[tuple[str, str, str]]:
    """The distribution, name and target (`module:name`) of each entry point of a group. Broken metadata is left to the doctor."""
    found = offered(group, lambda _distribution, _error: None)
    return ((entry.distribution, entry.name, entry.value) for entry in found if entry.group == group)


def extensions() -> dict[str, Extension]:
    """List the commands that the installed distributions add, by name."""
    offered: dict[str, dict[str, str]] = {}
    for owner, name, target in entries(GROUP):
        offered.setdefault(name, {})[owner] = target
    return {name: Extension(name, next(iter(by.values())), tuple(sorted(by))) for name, by in sorted(offered.items())}
