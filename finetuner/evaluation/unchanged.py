"""What fails leaves no half of a change behind."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Given, Found = ParamSpec('Given'), TypeVar('Found')


def unchanged_by_failure(
    method: Callable[Concatenate[Any, Given], Found],
) -> Callable[Concatenate[Any, Given], Found]:
    """A method after whose failure all attributes are what they were before."""

    @wraps(method)
    def tried(self: Any, *given: Given.args, **options: Given.kwargs) -> Found:
        before = dict(vars(self))
        try:
            return method(self, *given, **options)
        except BaseException:
            vars(self).update(before)
            raise

    return tried
