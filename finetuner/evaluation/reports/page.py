"""One HTML file that shows what a training changed; it needs nothing beside itself, and no network."""

import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from finetuner import artifact
from finetuner.errors import ArgumentError, whole_number
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.intervals import compare
from finetuner.evaluation.reports import distributions, sections
from finetuner.evaluation.reports.atlas import STYLE
from finetuner.evaluation.reports.changes import check, judge
from finetuner.evaluation.reports.identity import check_same
from finetuner.evaluation.reports.markup import Markup, element
from finetuner.evaluation.reports.pictures import Show
from finetuner.evaluation.reports.projection import check as check_projection

# Nothing may be loaded, and nothing run, whatever a text in the page says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(
    before: Evaluator,
    after: Evaluator,
    path: str | os.PathLike[str] = 'report.html',
    *,
    metric: str | None = None,
    projection: str = 'pca',
    num_examples: int = 6,
    show: Show | None = None,
    title: str = 'Before and after tuning',
    seed: int = 0,
) -> Path:
    """Write a page that shows what changed between two evaluations of the same queries.

    It has a verdict; all metrics with their intervals; where the first right result stands; the queries that changed
    most with their results, as pictures or texts; a map of the embeddings; and how similar pairs are that belong
    together and that do not. It needs no network, and no script.

    Args:
        before: has evaluated the first model.
        after: has evaluated the second one, on the same data and with the same options.
        path: of the file; it is replaced if it is there.
        metric: by which the verdict is spoken and examples are chosen; None takes 'average_precision' if it was
            measured, else the first.
        projection: of the map: 'pca', or 'umap' (extra `umap`).
        num_examples: how many queries that improved, and how many that worsened, are shown.
        show: from an item, as `preprocess_fn` gets it, to what is shown of it: an array (H, W) or (H, W, C), an image
            of Pillow, or a text. None shows texts and what looks like an image, and of all else the name.
        title: over the page.
        seed: of what is drawn by chance where there is too much to show.

    Returns:
        `path`.

    Raises:
        ArgumentError: an evaluator has not evaluated, they evaluated other data, or an argument is impossible.
        DataError: there are too few queries, or `show` gives no picture.
        MissingExtraError: UMAP is not installed.
    """
    check_file(path)
    path, seed = Path(path), whole_number('seed', seed, 0)
    if show is not None and not callable(show):
        raise ArgumentError(f'show={show!r}: expected a function from an item to what is shown of it, or None.')
    check(before, after)
    check_projection(projection)
    count = whole_number('num_examples', num_examples, 0)
    compared = compare(before, after, seed=seed)
    check_same(before, after)
    metric = judge(metric, compared, before, after)
    parts = [
        sections.head(title, metric, compared[metric]),
        sections.metrics(compared, before, after, seed),
        distributions.ranks(before, after, seed),
        *sections.examples(metric, compared[metric], before, after, count, show),
        sections.atlas(before, after, projection, seed),
        distributions.pairs(before, after, seed),
        sections.origin(before, after, metric, seed, datetime.now(UTC)),
    ]
    with artifact.whole_file(path) as fresh:
        # Half of a surrogate pair, which broken texts have, cannot be written.
        fresh.write_text(_page(title, parts), encoding='utf-8', errors='replace')
    return path


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse a path that no page can be written to.

    Raises:
        ArgumentError: it is none, or a folder, or is in one that is not to be written to.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path={path!r}: expected where to write the page, such as 'report.html'.")
    path = Path(path)
    if path.is_dir():
        raise ArgumentError(
            f'path={str(path)!r} is a folder: name a file in it, such as {str(path / "report.html")!r}.'
        )
    artifact.check_place('path', path.parent)


def _page(title: str, parts: list[Markup]) -> str:
    style = (files('finetuner.evaluation.reports') / 'report.css').read_text(encoding='utf-8')
    head = [
        element('meta', charset='utf-8'),
        element('meta', http_equiv='Content-Security-Policy', content=_POLICY),
        element('meta', name_='viewport', content='width=device-width, initial-scale=1'),
        element('meta', name_='color-scheme', content='light dark'),
        element('link', rel='icon', href='data:,'),
        element('title', title),
        element('style', Markup(style + STYLE)),
    ]
    body = element('body', element('main', *parts))
    return f'<!doctype html>\n{element("html", element("head", *head), body, lang="en")}\n'
