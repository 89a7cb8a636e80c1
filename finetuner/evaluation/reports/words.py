"""Names, labels and texts as they stand on a page: in one line, not too long, and without the folders of a machine."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from finetuner.data.uri import Uri, names_image

LONGEST = 300  # characters of a text

_DOCUMENT = re.compile(r'document ([\'"])(.*)\1', re.DOTALL)
_DRIVE = re.compile(r'[A-Za-z]:[\\/]|\\\\')
_URL = re.compile(r'(?!file:)[A-Za-z][A-Za-z0-9+.-]+://\S*')
# Two folders at least, or what ends like a file: a text may start with a slash too.
_PATH = re.compile(r'(~[^/\s]*)?/([^/\s]+/.*|.*\.\w{1,5})|file:.*')


def cut(text: str) -> str:
    """A text in one line, cut where it is long."""
    flat = ' '.join(text.split())
    return flat if len(flat) <= LONGEST else f'{flat[: LONGEST - 1]}…'


def labelled(label: Any) -> str | None:
    """A label in words; several are separated by commas."""
    if label is None:
        return None
    return cut(', '.join(map(str, label)) if isinstance(label, tuple) else str(label))


def is_file(text: str) -> bool:
    """Whether a string says where a file lies, in place of what is in it."""
    if isinstance(text, Uri) or names_image(text):
        return True
    line = text.strip()
    return any(pattern.fullmatch(line) for pattern in (_URL, _PATH)) or bool(
        _DRIVE.match(line) and len(line.splitlines()) == 1
    )


def bare(name: str) -> str:
    """A name without the folders of this machine, if it has some, and without what is secret in a URL.

    >>> bare('/home/me/a.png'), bare("document '/home/me/a.png'"), bare('https://x.org/a?token=1')
    ('a.png', "document 'a.png'", 'https://x.org/a')
    """
    document, line = _DOCUMENT.fullmatch(name), name.strip()
    if document:
        quote, identity = document.groups()
        return f'document {quote}{bare(identity)}{quote}'
    if line.startswith('data:'):
        return line.partition(',')[0]
    if _DRIVE.match(line):
        return PureWindowsPath(line).name or line
    if _URL.fullmatch(line):
        url = urlsplit(line)
        return f'{url.scheme}://{url.netloc.rpartition("@")[2]}{url.path}'
    if line.startswith('file:'):
        return bare(unquote(line.removeprefix('file:').partition('?')[0])) or 'file'
    return PurePosixPath(line).name if _PATH.fullmatch(line) or PurePosixPath(line).is_absolute() else name
