"""Everything public is documented: arguments, results and errors; and the examples of docstrings run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import textwrap
import types
from pathlib import Path

import attrs
import pytest

import providerhub
import providerhub.testing
import providerhub_conformance
from providerhub._hub import Knobs

pytestmark = pytest.mark.once

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):\n((?:[ ]+.*\n|\n)*)", re.MULTILINE)
ITEM = re.compile(r"^    (\**\w[\w.]*):", re.MULTILINE)
PACKAGES = [
    f"providerhub{part}" for part in ("", ".testing", ".wire", ".http", ".wire_provider", ".openai_provider", ".hookspecs")
]
NOT_NAMED = {"self", "cls"}
MADE_BY_OTHERS = {
    "providerhub.Stream",
    "providerhub.AsyncStream",
    "providerhub.GoOn",
    "providerhub.http.Answer",
    "providerhub.http.AsyncAnswer",
    "providerhub.testing.Connection",
}
"""Classes whose objects nobody makes by hand."""


PROTOCOLS = {
    name: protocol
    for protocol in (providerhub.Provider, providerhub.testing.Step, providerhub.testing.Peer)
    for name in vars(protocol)
    if not name.startswith("_")
}
"""Methods that many classes have, and the class that describes them."""


def _objects():
    """Every public function, class and method of a class, by name."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        listed = getattr(module, "__all__", None)
        for name in listed or [name for name in vars(module) if not name.startswith("_")]:
            value = getattr(module, name)
            home = getattr(value, "__module__", "")
            if isinstance(value, type | types.FunctionType) and home.startswith("providerhub" if listed else package):
                yield f"{package}.{name}", value
                if isinstance(value, type):
                    yield from _methods(f"{package}.{name}", value)


def _methods(owner, kind):
    for name, value in vars(kind).items():
        parents = (parent for parent in kind.__mro__[1:] if parent.__module__.startswith("providerhub"))
        if PROTOCOLS.get(name, kind) is not kind or any(name in vars(parent) for parent in parents):
            continue  # described where it is declared
        inner = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        inner = inner.fget if isinstance(inner, property) else inner
        if not name.startswith("_") and isinstance(inner, types.FunctionType) and inner.__module__.startswith("providerhub"):
            yield f"{owner}.{name}", value


OBJECTS = dict(_objects())


def _sections(value):
    text = inspect.getdoc(value) or ""
    found = SECTION.findall(text + "\n")
    return {name: {item.lstrip("*") for item in ITEM.findall(body)} or {body.strip()} for name, body in found}


def _parameters(value):
    """The arguments that a caller gives."""
    if isinstance(value, property):
        return set()
    if isinstance(value, type):
        if attrs.has(value):
            return {field.alias for field in attrs.fields(value) if field.init}
        if "__init__" not in vars(value) or getattr(value, "_is_protocol", False):
            return set()
        value = value.__init__
    value = _plain(value)
    named = {one.name: one for one in inspect.signature(value).parameters.values() if not one.name.startswith("_")}
    if "Unpack[Knobs]" in str(named.get("knobs")) and "**knobs" not in (value.__doc__ or ""):
        del named["knobs"]  # then each keyword has its own entry
        named.update(dict.fromkeys(Knobs.__annotations__))
    return named.keys() - NOT_NAMED


def _raised(function):
    """The classes that a function's own body raises, if the source shows them."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):
        return set()
    inside = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.ExceptHandler) for node in ast.walk(outer)}
    caught = {
        id(node) for outer in ast.walk(tree) if isinstance(outer, ast.Try) for part in outer.body for node in ast.walk(part)
    }
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and id(node) not in inside | caught:
            name = ast.unparse(node.exc.func)
            if re.match(r"[A-Z]\w*(Error|Exception|Exit)$", name):
                names.add(name)
    return names


def _plain(value):
    return (
        value.__func__ if isinstance(value, staticmethod | classmethod) else value.fget if isinstance(value, property) else value
    )


def test_every_public_thing_says_what_it_is():
    texts = {name: inspect.getdoc(value) or "" for name, value in OBJECTS.items()}
    assert {name for name, text in texts.items() if len(text.split()) < 2} == set()
    assert {name for name, text in texts.items() if "```" in text} == set(), "Sphinx reads reStructuredText: use a doctest"


def test_every_argument_is_described():
    assert {name: missing for name in OBJECTS.keys() - MADE_BY_OTHERS if (missing := _not_described(OBJECTS[name]))} == {}


def _not_described(value):
    sections = _sections(value)
    said = sections.get("Args", set()) | (sections.get("Attributes", set()) if isinstance(value, type) else set())
    if isinstance(value, type) and issubclass(value, BaseException):
        said |= {item for parent in value.__mro__ for item in _sections(parent).get("Args", set())}
    return _parameters(value) - said


def test_what_comes_back_and_what_is_raised_is_described():
    functions = {name: _plain(value) for name, value in OBJECTS.items() if not isinstance(value, type | property)}
    assert {name for name, function in functions.items() if not _says_what_comes_back(function)} == set()
    assert {name: missing for name, function in functions.items() if (missing := _raised_in_silence(function))} == {}


def _says_what_comes_back(function):
    result = str(inspect.signature(function).return_annotation)
    is_plain = result in {"None", "bool", "Self"} or not ("Iterator[" in result or _parameters(function))
    return is_plain or _sections(function).keys() & {"Returns", "Yields"} or _short(function)


def _raised_in_silence(function):
    said = " ".join(sorted(_sections(function).get("Raises", set())))
    return {one for one in _raised(function) if one not in said}


def _short(function):
    """Whether a docstring is one sentence about the result, so that it needs no section for it."""
    return len((inspect.getdoc(function) or "").strip().split("\n\n")) == 1


SOURCES = [path for one in (providerhub, providerhub_conformance) for path in sorted(Path(one.__file__).parent.rglob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_examples_in_docstrings_run(path):
    tree = ast.parse(path.read_text("utf-8"))
    finder = doctest.DocTestParser()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ">>>" in (
            ast.get_docstring(node) or ""
        ):
            name = getattr(node, "name", path.stem)
            test = finder.get_doctest(ast.get_docstring(node), {"__name__": "example"}, name, str(path), node.body[0].lineno)
            failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
            assert not failed
