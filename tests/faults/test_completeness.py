"""Every row of the fault matrix has tests, and each test runs both ways."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROWS = [*map(str, range(1, 67)), "66a", *map(str, range(67, 87))]

ELSEWHERE = ["integration/test_preparing.py"]
"""Tests of rows that are kept with others of their kind."""

ONE_WAY = {
    "test_fault_51_task_cancelled": "nobody else has a handle on a synchronous call that has not returned",
    "test_fault_51_reading_task_cancelled": "only tasks are cancelled; `test_fault_51_reader_cancelled` is its synchronous like",
    "test_fault_51_hub_closed_while_a_task_reads": "`close` lets synchronous streams go on; only `aclose` cuts those of its loop",
    "test_fault_70_an_empty_list_is_no_failure": "the way takes no part in the message; the other tests of the row try both ways",
    "test_fault_62_doctor_names_the_malformed_distribution": "a command has no asynchronous way",
}
"""Tests that are tried one way only, and why."""

BOTH_WAYS = {"way", "row", "ask", "child"}
"""The fixtures that try both ways: `way`, and those that are made of it."""


def _tests():
    here = Path(__file__).parent
    for path in (*sorted(here.glob("test_*.py")), *(here.parent / name for name in ELSEWHERE)):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_fault_"):
                yield node.name, {argument.arg for argument in node.args.args}


def _rows(name):
    """`test_fault_09_and_10_…` is about two rows."""
    found = re.match(r"test_fault_(\d\da?)(?:_and_(\d\d))?_[a-z]", name)
    assert found, f"{name}: a name is test_fault_NN_words"
    return {number.lstrip("0") for number in found.groups() if number}


def test_every_row_has_tests_that_try_both_ways():
    tested = defaultdict(list)
    for name, fixtures in _tests():
        if fixtures & BOTH_WAYS:
            for number in _rows(name):
                tested[number].append(name)
    assert set(ROWS) - set(tested) == set() == set(tested) - set(ROWS)


def test_the_page_has_every_row():
    page = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"
    assert re.findall(r"^\| (\d+a?) \|", page.read_text("utf-8"), re.MULTILINE) == ROWS


def test_every_test_tries_both_ways_or_says_why_not():
    assert {name for name, fixtures in _tests() if not fixtures & BOTH_WAYS} == set(ONE_WAY)


def test_no_name_is_given_twice():
    names = [name for name, _ in _tests()]
    assert len(names) == len(set(names))
