"""Plays the code of a Markdown page: ```python blocks as one program, ```pycon blocks as doctests in its midst.

An ```output block is what the block before it prints, or a part of that; spaces and ends of lines do not count.
"""

import doctest
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

_ENGINES = re.compile(r'<!-- runs with: ([\w-]+(?:, [\w-]+)*) -->\n')
_FENCE = re.compile(r'^```(\w*)[ \t]*\n(.*?)^```[ \t]*$', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: its language, the line of the page it starts after, and the code."""

    language: str
    line: int
    code: str


def engines(page: Path) -> list[str]:
    """The backends that a page's code is for: its first line says so, else it is for PyTorch."""
    match = _ENGINES.match(page.read_text(encoding='utf-8'))
    return match[1].split(', ') if match else ['torch']


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
    differences, printed = 0, ''
    for block in blocks(path):
        if block.language == 'python':
            with redirect_stdout(io.StringIO()) as output:
                exec(compile('\n' * block.line + block.code, str(path), 'exec'), names)
            printed = output.getvalue()
        elif block.language == 'output' and _words(block.code) not in _words(printed):
            differences += 1
            sys.stderr.write(f'{path.name}, line {block.line}: expected\n{block.code}\nbut printed is\n{printed}\n')
        elif block.language == 'pycon':
            differences += _compare(block, names, path)
    sys.exit(bool(differences))


def _words(text: str) -> str:
    return f' {" ".join(text.split())} '


def _compare(block: Block, names: dict[str, object], path: Path) -> int:
    test = doctest.DocTestParser().get_doctest(block.code, names, path.name, str(path), block.line)
    test.globs = names  # in place of a copy, so that blocks see what others define
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    return runner.run(test, out=lambda text: sys.stderr.write(text) and None, clear_globs=False).failed
