"""Find phrases that make prose hard to read, and entries of `Args:` that say too little.

    python tools/plain_words.py            check the whole project
    python tools/plain_words.py PATH ...   check these files and folders

The script reads the comments and strings of Python files, and Markdown, TOML and the texts of pictures as a whole. It leaves
out the code of tests. It prints `FILE:LINE: PHRASE: ADVICE` for each find, and exits with 1 when there are any.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("*.md", "*.toml", "docs", "providerhub", "plugins", "tools")
SUFFIXES = {".md", ".py", ".pyi", ".toml", ".txt"}
LEFT_OUT = {"__pycache__", "_build", "build", "dist", "tests"}
"""Folders that hold no prose of the project. Folders that begin with a dot are left out too."""

PERSON = "name the thing, such as 'the caller', 'a plugin' or 'another provider'"
SUBJECT = "begin with the thing itself, or ask a question that ends with a question mark"
PHRASES = {
    r"whoever|whomever|whosoever": PERSON,
    r"nobody|somebody|anybody|everybody": PERSON,
    r"whatever|whichever": "name the thing, or say 'any' or 'every'",
    r"(?:is|are|was|were|be|been|being) told|as told": "say what is passed, set or shown, and by which argument or message",
    r"(?<!there\s)(?:is|are|was|were) no(?! (?:longer|more than|later than|less than)\b)": "say 'is not a' or 'has no'",
    r"it is that|what it is|who it is|who has it|whose it is|which it is": "name the thing",
    r"but for|lest|merely|anew": "say 'except', 'so that ... not', 'only', 'again'",
    r"outrank(?:s|ed|ing)?": "say 'takes precedence over'",
    r"in mid-\w+": "say 'in the middle of'",
    r"(?:where|when|if) it is due|as it has come": "say 'if necessary', 'so far'",
    r"not under (?=\d)": "say 'at least'",
    r"(?-i:What|Who)\b(?![^.?!]*\?)": SUBJECT,
}
ALLOWED: dict[tuple[str, str], str] = {}
"""File and phrase in lower case → the reason why it may stand there."""

SHORT = 3
"""An entry of `Args:` with this many words or fewer is short."""
SHORT_ALLOWED = 20
"""Short entries that may stand in the public docstrings of `providerhub/`: some arguments need no more words."""

FIND = re.compile(r"\b(?:" + "|".join(phrase.replace(" ", r"\s+") for phrase in PHRASES) + r")\b", re.IGNORECASE)
PROSE = {getattr(tokenize, name) for name in ("COMMENT", "STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE") if hasattr(tokenize, name)}
ARGS = re.compile(r"^Args:\n((?:[ ]+.*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^    (\**\w+):(.*\n(?:     +.*\n|\n)*)", re.MULTILINE)


def files(places: list[str]) -> Iterator[Path]:
    """List the files that the script reads.

    Args:
        places: Paths and patterns, relative to the checkout. A folder stands for the files below it.

    Yields:
        The path of each file, in order.
    """
    for place in places:
        for found in sorted(ROOT.glob(place)):
            for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
                parts = path.relative_to(ROOT).parts
                if path.suffix in SUFFIXES and path.resolve() != Path(__file__).resolve() and not _left_out(parts):
                    yield path


def _left_out(parts: tuple[str, ...]) -> bool:
    return any(part in LEFT_OUT or part.startswith(".") for part in parts)


def prose(text: str) -> str:
    """Blank out the code of a Python file.

    Args:
        text: The source. A file that Python cannot read, such as a template, is returned as it is.

    Returns:
        The source with spaces in place of code, quotes and `#`, so that each comment and string keeps its line, and a phrase
        that goes on in the next line is found.
    """
    lines = text.splitlines(keepends=True)
    kept = [list(re.sub(r"[^\n]", " ", line)) for line in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in PROSE:
                (row, column), (last, end) = token.start, token.end
                for number in range(row - 1, min(last, len(lines))):
                    start, stop = (column if number == row - 1 else 0), (end if number == last - 1 else len(lines[number]))
                    kept[number][start:stop] = re.sub(r"[\"#']", " ", lines[number][start:stop])
    except (tokenize.TokenError, SyntaxError):
        return text
    return "".join("".join(line) for line in kept)


def finds(name: str, text: str) -> Iterator[str]:
    """Find the phrases in one file.

    Args:
        name: The path of the file, relative to the checkout.
        text: The content of the file.

    Yields:
        A line for each phrase that is not allowed in this file.
    """
    text = prose(text) if name.endswith((".py", ".pyi")) else text
    for found in FIND.finditer(text):
        phrase = " ".join(found[0].split())
        if (name, phrase.lower()) not in ALLOWED:
            line = text.count("\n", 0, found.start()) + 1
            advice = next(one for listed, one in PHRASES.items() if re.match(f"(?:{listed})", phrase, re.IGNORECASE))
            yield f"{name}:{line}: {phrase}: {advice}"


def short_entries(name: str, text: str) -> Iterator[str]:
    """Find short entries of `Args:` in the docstrings of one file.

    Args:
        name: The path of the file, relative to the checkout.
        text: The source of the file.

    Yields:
        A line for each entry of a public class or function that has at most `SHORT` words.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            for body in ARGS.findall((ast.get_docstring(node) or "") + "\n"):
                for argument, says in ENTRY.findall(body):
                    if len(says.split()) <= SHORT:
                        yield f"{name}:{node.lineno}: {node.name}: {argument}: {says.strip()}"


def main() -> int:
    """Check the files and print the finds."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files(sys.argv[1:] or list(PLACES))}
    found = [line for name, text in texts.items() for line in finds(name, text)]
    core = {name: text for name, text in texts.items() if name.startswith("providerhub/") and name.endswith(".py")}
    short = [line for name, text in core.items() for line in short_entries(name, text)]
    print(*found, sep="\n", end="\n" if found else "")
    if len(short) > SHORT_ALLOWED:
        print(*short, sep="\n")
        print(f"{len(short)} entries of `Args:` with {SHORT} words or fewer; at most {SHORT_ALLOWED} are allowed")
    print(f"{len(texts)} files, {len(found)} phrases to replace")
    return 1 if found or len(short) > SHORT_ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
