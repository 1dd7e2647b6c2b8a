"""The line of each key of a TOML text: written documents with known lines, and generated documents."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providerhub._settings.file import locate

DOCUMENT = '''# comment = 1
timeout = 60  # [not.a.table]
"quoted.key" = "a # no comment"
'lit eral' = 'C:\\new'
"t\\u0061b" = 1
a.b . "c" = 2
text = """
[fake]
key = 1
\\""" still inside"""""
raw = \'\'\'
fake = 2\'\'\'
list = [
  1, # one
  [2, 3],

  { name = "x", deep = { er = [ 4 ] } },
]
day = 1979-05-27 07:32:00Z

[providers.acme]
url = "https://x/?a=1#b"
[ providers . "acme-eu" ]
key = { env = "A" }
[[rows]]
v = 1
[[rows.inner]]
w = 1
[[rows]]
[[rows.inner]]
w = 2
[[rows.inner]]
w = 3
[rows.inner.more]
z = 1'''

EXPECTED = {
    ("timeout",): 2,
    ("quoted.key",): 3,
    ("lit eral",): 4,
    ("tab",): 5,
    ("a", "b", "c"): 6,
    ("text",): 7,
    ("raw",): 11,
    ("list",): 13,
    ("list", 0): 14,
    ("list", 1, 1): 15,
    ("list", 2, "name"): 17,
    ("list", 2, "deep", "er", 0): 17,
    ("day",): 19,
    ("providers",): 21,
    ("providers", "acme", "url"): 22,
    ("providers", "acme-eu"): 23,
    ("providers", "acme-eu", "key", "env"): 24,
    ("rows", 0, "v"): 26,
    ("rows", 0, "inner", 0, "w"): 28,
    ("rows", 1): 29,
    ("rows", 1, "inner", 0, "w"): 31,
    ("rows", 1, "inner", 1, "w"): 33,
    ("rows", 1, "inner", 1, "more", "z"): 35,
}


def _paths(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_key_of_a_written_document(newline):
    found = locate(DOCUMENT.replace("\n", newline))
    assert {path: found[path] for path in EXPECTED} == EXPECTED
    assert set(found) == set(_paths(tomllib.loads(DOCUMENT)))


@pytest.mark.parametrize("body", ["", '"', '""', "a", 'a"', 'a""', '\\"', 'a\\"""b', 'x""y', "\\\\", "\n# = [x]\n"])
def test_multi_line_texts_end_where_toml_says(body):
    text = f'k = """{body}"""\nz = 1\n'
    assert tomllib.loads(text)["z"] == 1
    assert locate(text) == {("k",): 1, ("z",): 2 + body.count("\n")}


def test_an_empty_text_has_no_keys():
    assert locate("") == locate("\n# nothing\n") == {}


KEYS = st.text("ab-_.é \"'\\\n=#[]", max_size=4)
LEAVES = st.one_of(st.integers(), st.booleans(), st.text("ab\"'\\#[]{}=,\n", max_size=6), st.floats(allow_nan=False))
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


def _quote(text):
    return '"' + "".join(f"\\u{ord(char):04x}" if char in '"\\\n' else char for char in text) + '"'


def _inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quote(key)} = {_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + "".join(f"{_inline(inner)}, # ]\n" for inner in value) + "]"
    if isinstance(value, str):
        return _quote(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_every_key_of_a_made_up_document(top, tables):
    top = {key: value for key, value in top.items() if key not in tables}
    lines, expected = [], {}
    for key, value in top.items():
        expected[key,] = "".join(lines).count("\n") + 1
        lines.append(f"{_quote(key)} = {_inline(value)}\n")
    for name, table in tables.items():
        expected[name,] = "".join(lines).count("\n") + 1
        lines.append(f"[{_quote(name)}]\n")
        for key, value in table.items():
            expected[name, key] = "".join(lines).count("\n") + 1
            lines.append(f"{_quote(key)} = {_inline(value)}\n")
    text = "".join(lines)
    found = locate(text)
    assert set(found) == set(_paths(tomllib.loads(text)))
    assert {path: found[path] for path in expected} == expected
