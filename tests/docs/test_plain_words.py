"""The check of the prose finds a phrase in each kind of text, and no phrase in code."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture
def plain_words(root):
    spec = importlib.util.spec_from_file_location("plain_words", root / "tools" / "plain_words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.md", "The hub calls\nwhoever is ready.\n", ["a.md:2: whoever"]),
        ("a.md", "Nobody knows. There is no key. It is no longer used.\n", ["a.md:1: Nobody"]),
        ("a.md", "A list is no text.\n", ["a.md:1: is no"]),
        ("a.md", "What is a provider? What it sends is text.\n", ["a.md:1: What"]),
        ("a.toml", "# The plugin is\n# asked.\nkey = 'it is told'\n", ["a.toml:3: is told"]),
        ("a.py", "nobody = whoever(nobody)\n", []),
        ("a.py", "x = 1  # the plugin is\n# told\n", ["a.py:1: is told"]),
        ("a.py", '"""It is\n\n    told.\n"""\n', ["a.py:1: is told"]),
        ("a.py", 'raise ValueError(f"nobody has {x}; " "it is "\n "told")\n', ["a.py:1: nobody", "a.py:1: is told"]),
        ("a.py", "a template {{ with }} 'nobody'\n 'in it\n", ["a.py:1: nobody"]),
    ],
)
def test_a_phrase_is_found_in_prose(plain_words, name, text, found):
    assert [": ".join(line.split(": ")[:2]) for line in plain_words.finds(name, text)] == found


def test_an_allowed_phrase_is_not_reported(plain_words, monkeypatch):
    monkeypatch.setitem(plain_words.ALLOWED, ("a.md", "nobody"), "a quotation")
    assert not list(plain_words.finds("a.md", "Nobody\n"))
    assert list(plain_words.finds("b.md", "Nobody\n"))


def test_short_entries_of_arguments_are_found(plain_words):
    text = '''
def complete(model, messages):
    """Ask.

    Args:
        model: The name.
        messages: The conversation, the oldest message first,
            at least one.

    Returns:
        text: The text.
    """

def _private(model):
    """Ask.

    Args:
        model: The name.
    """
'''
    assert list(plain_words.short_entries("a.py", text)) == ["a.py:2: complete: model: The name."]
