"""Tables: in a terminal, they fit without a cut name; in a pipe, they are plain rows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from providerhub.cli import _screen as screen

COLUMNS = ("model", "provider", "price", "can")
LONG = "us.anthropic.claude-opus-4-5-20251101-v1:0"
ROWS = [(LONG, "anthropic-bedrock", "15/75", "stream, tools, images, json_schema, reasoning"), ("gpt-4", "openai", "", "stream")]


@pytest.fixture
def drawn(monkeypatch):
    """Draw a table in a terminal of some columns."""

    def draw(width, *args):
        told = io.StringIO()
        monkeypatch.setattr(screen, "_console", lambda: Console(file=told, width=width, color_system=None))
        monkeypatch.setattr(screen.sys.stdout, "isatty", lambda: True, raising=False)
        screen.table(*args)
        return told.getvalue()

    return draw


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_row_is_wider_than_the_terminal_and_no_name_is_cut(drawn, width):
    told = drawn(width, COLUMNS, ROWS, ("price",))
    assert max(len(line.rstrip()) for line in told.splitlines()) <= width
    words = told.replace(";", " ").split()
    for word in ("gpt-4", "openai", "anthropic-bedrock", "reasoning"):
        assert word in words
    assert (LONG in words) == (width > len(LONG))


def test_a_narrow_terminal_does_without_the_optional_columns(drawn):
    assert "15/75" in drawn(120, COLUMNS, ROWS, ("price",))
    assert "15/75" not in drawn(88, COLUMNS, ROWS, ("price",))


def test_a_narrow_terminal_joins_the_columns_that_are_not_optional(drawn):
    rows = [("claude-sonnet-4-5-20250929", "anthropic", "200k", "3/15", "plugin", "tools, images, schema, prefill")]
    names = ("model", "provider", "window", "price", "source", "can")
    told = drawn(60, names, rows, ("source",))
    assert "provider; window; price; can" in told
    assert "anthropic; 200k; 3/15; tools," in told
    assert "plugin" not in told


def test_a_column_without_values_is_left_out(drawn):
    assert "price" not in drawn(200, COLUMNS, [(*row[:2], "", row[3]) for row in ROWS])


def test_square_brackets_are_no_markup(drawn):
    assert "[providers.openai]" in drawn(80, ("a", "b"), [("x", "[providers.openai] [bold]")])


def test_a_pipe_gets_plain_rows_of_limited_length(capsys):
    screen.table(("name", "text"), [("a", "x" * 500), ("b", "two\nlines")])
    head, long, short = capsys.readouterr().out.splitlines()
    assert (head, short) == ("name\ttext", "b\ttwo lines")
    assert (len(long), long[-1]) == (200, "…")
