"""Writes the page of every loss and miner from its docstring, so that each is said once.

python docs/generate.py           writes docs/losses/*.md and docs/miners/*.md
python docs/generate.py --check   only says which pages are not current; exit status 1 if there are any
"""

import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path

from finetuner.losses import registry
from finetuner.losses.names import LOSSES, MINERS, REGULARIZERS, WRAPPERS, find
from finetuner.losses.wrapper import Wrapper

DOCS = Path(__file__).resolve().parent
SECTIONS = ('Args', 'Raises', 'Returns', 'Attributes')


def pages() -> dict[Path, str]:
    """The text of every page, by where it stands."""
    found = {}
    for folder, kind, names in (('losses', 'loss', [*LOSSES, *WRAPPERS]), ('miners', 'miner', MINERS)):
        for name in names:
            if find(name, kind).__name__ == name:  # others are old names of the same
                found[DOCS / folder / f'{name}.md'] = page(find(name, kind), folder)
        found[DOCS / folder / 'README.md'] = index(kind, folder, names)
    found[DOCS / 'losses' / 'regularizers.md'] = regularizers()
    return found


def regularizers() -> str:
    """The page of what `RegularizedLoss` adds to a loss."""
    lines = ['# Regularizers', '', 'What [RegularizedLoss](RegularizedLoss.md) adds to a loss, by name.']
    for name in REGULARIZERS:
        cls = find(name, 'regularizer')
        prose, sections, _ = parts(inspect.getdoc(cls) or '')
        lines += ['', f'## {name}', '', *_prose(prose)]
        if cls.of_classes:
            lines += ['', '*For:* learned classes alone.']
        lines += _table(cls, sections)
    return '\n'.join(lines) + '\n'


def index(kind: str, folder: str, names: Iterable[str]) -> str:
    """The page that names all of a folder."""
    lines = [f'# {folder.capitalize()}', '', '| | when to use |', '|---|---|']
    old = []
    for name in sorted(names, key=str.lower):
        cls = find(name, kind)
        if cls.__name__ != name:
            old.append(f'`{name}` is [{cls.__name__}]({cls.__name__}.md).')
            continue
        use = re.search(r'When to use: (.*?)(\n\n|$)', inspect.getdoc(cls) or '', re.DOTALL)
        lines.append(f'| [{name}]({name}.md) | {" ".join(use[1].split()) if use else ""} |')
    if folder == 'losses':
        lines.append('| [regularizers](regularizers.md) | with `RegularizedLoss` |')
    if old:
        lines += ['', 'Old names: ' + ' '.join(old)]
    guide = 'which-one' if folder == 'losses' else 'miners'
    return '\n'.join([*lines, '', f'[How to choose](../losses.md#{guide}).']) + '\n'


def page(cls: type, folder: str) -> str:
    """The page of one class."""
    prose, sections, example = parts(inspect.getdoc(cls) or '')
    guide = 'which-one' if folder == 'losses' else 'miners'
    lines = [f'# {cls.__name__}', '', *_prose(prose)]
    if folder == 'losses' and not issubclass(cls, Wrapper):
        lines += ['', f'*Data:* {registry.needs(cls())}.']
    lines += _table(cls, sections)
    if 'Raises' in sections:
        lines += ['', '*Raises* ' + ' '.join(f'`{name}`: {text}' for name, text in entries(sections['Raises']).items())]
    example = [
        f'>>> from finetuner.{"losses" if folder == "losses" else "losses.miners"} import {cls.__name__}',
        *example,
    ]
    lines += [
        '',
        '```pycon',
        *example,
        '',
        '```',
        '',
        f'See [{"losses and miners" if folder == "losses" else "miners"}](../losses.md#{guide}).',
    ]
    return '\n'.join(lines) + '\n'


def parts(doc: str) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """The prose of a docstring, its sections by name, and its example."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    example: list[str] = []
    target = prose
    for line in doc.splitlines():
        heading = re.fullmatch(r'(\w+):', line)
        if heading and heading[1] in SECTIONS:
            target = sections.setdefault(heading[1], [])
            continue
        if line.startswith('>>> ') and target is not example:
            target = example
        elif line and not line.startswith(' ') and target is not prose and target is not example:
            target = prose
            prose.append('')
        target.append(line)
    return prose, sections, _stripped(example)


def entries(lines: list[str]) -> dict[str, str]:
    """The entries `name: text` of a section, with their continuation lines."""
    found: dict[str, str] = {}
    name = ''
    for line in lines:
        start = re.match(r'    (\w+): (.*)', line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif line.strip() and name:
            found[name] += ' ' + line.strip()
    return found


def _table(cls: type, sections: dict[str, list[str]]) -> list[str]:
    options = [field for field in fields(cls) if field.init]
    if not options:
        return []
    meaning = {name: text.replace('|', '\\|') for name, text in entries(sections.get('Args', [])).items()}
    rows = [f'| `{option.name}` | {_default(option)} | {meaning.get(option.name, "")} |' for option in options]
    return ['', '| parameter | default | |', '|---|---|---|', *rows]


def _prose(lines: list[str]) -> list[str]:
    text = '\n'.join(_stripped(lines))
    text = re.sub(r'\n{3,}', '\n\n', text)
    return re.sub(r'^(When to use|Source):', r'*\1:*', text, flags=re.MULTILINE).split('\n')


def _stripped(lines: list[str]) -> list[str]:
    return '\n'.join(lines).strip('\n').split('\n')


def _default(field: Field) -> str:
    if field.default is MISSING:
        return 'to be given' if field.default_factory is MISSING else f'`{field.default_factory()!r}`'
    return f'`{field.default!r}`'


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    wanted = pages()
    there = {path for folder in ('losses', 'miners') for path in (DOCS / folder).glob('*.md')}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text(encoding='utf-8') != text]
    stale += sorted(there - set(wanted))
    if arguments == ['--check']:
        for path in stale:
            print(f'{path.relative_to(DOCS.parent)} is not current: python docs/generate.py')
        return int(bool(stale))
    for path in stale:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding='utf-8')
        else:
            path.unlink()
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
