"""How well a model retrieves; imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.evaluation import bootstrap, clusters, gallery, geometry, legacy, metrics, table, votes
    from finetuner.evaluation.evaluator import Evaluator
    from finetuner.evaluation.intervals import Comparison, compare
    from finetuner.evaluation.reports.page import report
    from finetuner.evaluation.search import top_k
    from finetuner.evaluation.terminal import display_examples, display_metrics

__all__ = [
    'Comparison',
    'Evaluator',
    'bootstrap',
    'clusters',
    'compare',
    'display_examples',
    'display_metrics',
    'gallery',
    'geometry',
    'legacy',
    'metrics',
    'report',
    'table',
    'top_k',
    'votes',
]

_HOMES = {
    'Comparison': 'intervals',
    'Evaluator': 'evaluator',
    'compare': 'intervals',
    'display_examples': 'terminal',
    'display_metrics': 'terminal',
    'report': 'reports.page',
    'top_k': 'search',
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    if name in __all__:
        return import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
