"""Elements of HTML and SVG. What is put into them is escaped: no text of a user can become markup."""

from html import escape

_EMPTY = {'br', 'img', 'input', 'link', 'meta', 'wbr'}


class Markup(str):
    """Text that is markup already."""


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element with its children.

    Args:
        name: 'p', 'svg', …
        children: `Markup`, which is taken as it is, or anything else, whose text is escaped.
        attributes: by name; `class_` is `class`, and other underlines are hyphens. None and False leave one out, True
            gives it no value.

    >>> element('p', 'a < b', element('br'), class_='lead')
    '<p class="lead">a &lt; b<br></p>'
    """
    said = ''.join(_attribute(key.rstrip('_').replace('_', '-'), value) for key, value in attributes.items())
    if name in _EMPTY:
        return Markup(f'<{name}{said}>')
    return Markup(f'<{name}{said}>{joined(*children)}</{name}>')


def joined(*children: object) -> Markup:
    """Several things one after the other, as `element` takes them."""
    return Markup(''.join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def breakable(name: str) -> Markup:
    """A name, in which a line may end after an underline.

    >>> breakable('a_b')
    'a_<wbr>b'
    """
    return Markup('_<wbr>'.join(map(escape, name.split('_'))))


def section(title: str, *children: object, name: str) -> Markup:
    """A section with its heading, which links lead to."""
    return element(
        'section', element('h2', title, id=f'{name}-title'), *children, id=name, aria_labelledby=f'{name}-title'
    )


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ''
    return f' {name}' if value is True else f' {name}="{escape(str(value))}"'
