"""Plays the code of a Markdown page: ```python blocks as one program, ```pycon blocks as doctests in its midst."""

import doctest
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r'^```(\w*)[ \t]*\n(.*?)^```[ \t]*$', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: its language, the line of the page it starts after, and the code."""

    language: str
    line: int
    code: str


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding='utf-8')
    for match in _FENCE.finditer(text):
        yield Block(match[1], text.count('\n', 0, match.start(2)), match[2])


def play(page: str, folder: str) -> None:
    """Run the blocks of a page in one namespace; what they write goes to `folder`.

    Tracebacks and differences name the line of the page. The process ends with 1 where a doctest differs.
    """
    path = Path(page).resolve()
    os.chdir(folder)
    names: dict[str, object] = {'__name__': '__main__'}
    differences = 0
    for block in blocks(path):
        if block.language == 'python':
            exec(compile('\n' * block.line + block.code, str(path), 'exec'), names)
        elif block.language == 'pycon':
            differences += _compare(block, names, path)
    sys.exit(bool(differences))


def _compare(block: Block, names: dict[str, object], path: Path) -> int:
    test = doctest.DocTestParser().get_doctest(block.code, names, path.name, str(path), block.line)
    test.globs = names  # in place of a copy, so that blocks see what others define
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    return runner.run(test, out=lambda text: sys.stderr.write(text) and None, clear_globs=False).failed
