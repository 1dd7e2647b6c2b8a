"""Mutation testing of the chain's decisions: `python run.py [--modules policy engine] [--seconds 3600]`.

Each mutant is one small change of a module by cosmic-ray's operators. A forked child runs the unit tests with the mutant in place
of the module. A mutant that no test notices has survived. `survivors.md` beside this file lists the known survivors, each with
the reason why no test can or need notice it. The run fails on a survivor that is not listed, and on a listed mutant that does not
survive.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
UNIT = HERE.parent / "unit"
TESTS = [
    str(UNIT / f"test_{name}.py")
    for name in ("policy", "health", "engine", "engine_beside", "engine_bounds", "hedging", "stateful")
]
MODULES = ("policy", "health", "engine", "attempts", "endings")
KNOWN = HERE / "survivors.md"
ENTRY = re.compile(r"^- `(?P<module>\w+)` `(?P<before>.*)` → `(?P<after>.*)`$")

# One replacement of each arithmetic operator is enough: the other replacements are very wrong, and tests see no difference.
ARITHMETIC = re.compile(r"ReplaceBinaryOperator_(?!Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Mul|Mod_Mul)")
# For the small numbers and interned texts of a test, identity is the same as equality.
IDENTITY = re.compile(r"ReplaceComparisonOperator_\w+_Is(Not)?$")
# These two insert other variables, most of which are not defined there.
WITHOUT = ("VariableReplacer", "VariableInserter")


class Mutant(NamedTuple):
    """One change.

    Args:
        module: The module's name within the package.
        line: Its number.
        before: The line as it is.
        after: The line as it would be.
        source: The whole module as it would be.
    """

    module: str
    line: int
    before: str
    after: str
    source: str

    @property
    def entry(self) -> str:
        """How the list names it, whatever its line number."""
        return f"- `{self.module}` `{self.before}` → `{self.after}`"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """All changes to a module that can make a difference."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    logging.disable(logging.CRITICAL)
    original, seen = behaviour(source), set()
    for name in operator_names():
        if ARITHMETIC.search(name) or IDENTITY.search(name) or name.endswith(WITHOUT):
            continue
        occurrence = 0
        while (changed := mutate_code(source, get_operator(name)(), occurrence)) is not None:
            occurrence += 1
            new = behaviour(changed)
            if new not in {None, original} and new not in seen:
                seen.add(new)
                yield located(module, source, changed)


def behaviour(source: str) -> str | None:
    """What of a module's text runs: no annotation, no docstring, no way of passing; `None` where it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.arguments):  # the type checker checks how arguments are passed
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults += [default for default in node.kw_defaults if default is not None]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)


def located(module: str, source: str, changed: str) -> Mutant:
    """Where a change is."""
    pairs = enumerate(zip(source.splitlines(), changed.splitlines(), strict=False), 1)
    line, (before, after) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
    return Mutant(module, line, before.strip(), after.strip(), changed)


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from other text than its file's."""

    def __init__(self, name: str, source: str, path: str) -> None:
        self.name, self.source, self.path = name, source, path

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The module's, for its name."""
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: object) -> None:
        """Run the other text."""
        exec(compile(self.source, self.path, "exec"), module.__dict__)


def survives(mutant: Mutant | None, path: str, seconds: float) -> bool:
    """Run the tests in a child, with a mutant or without.

    Args:
        mutant: The change; `None` for none.
        path: The mutated module's file.
        seconds: After which the child is killed: a mutant may loop for ever.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run_tests(mutant, path)
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def run_tests(mutant: Mutant | None, path: str) -> int:
    """The child's part: the tests in a fresh interpreter state but for what is not ours.

    Returns:
        pytest's exit code.
    """
    import pytest

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant is not None:
        sys.meta_path.insert(0, Replaced(f"providerhub._rules.{mutant.module}", mutant.source, path))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout", "--import-mode=importlib"]
    # Without the project's options: rewritten asserts and warnings as errors only add details that this run does not need.
    return int(pytest.main([*options, "-c", os.devnull, "--rootdir", str(UNIT), "--assert=plain", *TESTS]))


def prepare() -> None:
    """Load what every child needs and nothing of ours, and make the random histories few and always the same."""
    import hypothesis
    import pytest

    os.environ["HYPOTHESIS_HISTORIES"] = "15"
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no need to shrink a found fault
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutation")
    for name in ("attrs", "hypothesis.stateful", "importlib_metadata", "pluggy", "requests"):
        importlib.import_module(name)
    assert pytest
    assert not any(name.startswith("providerhub") for name in sys.modules)


def known(modules: Iterable[str]) -> set[str]:
    """The listed survivors of some modules.

    Raises:
        ValueError: A line looks like an entry and is none.
    """
    found = set()
    for line in KNOWN.read_text(encoding="utf-8").splitlines():
        if line.startswith("- "):
            match = ENTRY.match(line)
            if match is None:
                msg = f"{KNOWN.name}: not an entry: {line}"
                raise ValueError(msg)
            if match["module"] in modules:
                found.add(line)
    return found


def main() -> int:
    """Run all mutants, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=MODULES, help="all of them by default")
    parser.add_argument("--seconds", type=float, default=3600.0, help="when it stops; what is left then is counted, not run")
    arguments = parser.parse_args()
    package = Path(importlib.util.find_spec("providerhub").origin).parent
    prepare_after_spec()
    prepare()
    end = time.monotonic() + arguments.seconds
    start = time.monotonic()
    if not survives(None, "", 600):
        print("the tests fail without any mutant")
        return 2
    limit = 10 + 5 * (time.monotonic() - start)
    listed = known(arguments.modules)
    survivors, killed, left = run_all(arguments.modules, package, limit, end, listed)
    entries = {mutant.entry for mutant in survivors}
    gone = set() if left else listed - entries
    for entry in sorted(gone):
        print(f"LISTED, BUT NO SURVIVOR\n{entry}")
    print(f"{killed} killed, {len(survivors)} survived ({len(entries & listed)} listed), {left} not run for want of time")
    return 1 if entries - listed or gone else 0


def prepare_after_spec() -> None:
    """Finding the package has imported nothing of it; what an editable install's finder imported does not matter."""
    for name in [name for name in sys.modules if name == "providerhub" or name.startswith("providerhub.")]:
        del sys.modules[name]


def run_all(modules: Iterable[str], package: Path, limit: float, end: float, listed: set[str]) -> tuple[list[Mutant], int, int]:
    """Run the mutants of some modules, and print those that survive.

    Returns:
        The survivors, how many were killed, and how many there was no time for.
    """
    survivors: list[Mutant] = []
    killed = left = 0
    for module in modules:
        path = package / "_rules" / f"{module}.py"
        for mutant in mutants(module, path.read_text(encoding="utf-8")):
            if time.monotonic() > end:
                left += 1
            elif survives(mutant, str(path), limit):
                survivors.append(mutant)
                word = "listed" if mutant.entry in listed else "SURVIVED"
                print(f"{word} {module}.py:{mutant.line}\n{mutant.entry}", flush=True)
            else:
                killed += 1
            if sys.stderr.isatty():
                print(f"\r{module}: {killed} killed, {len(survivors)} survived, {left} left ", end="", file=sys.stderr)
    return survivors, killed, left


if __name__ == "__main__":
    sys.exit(main())
