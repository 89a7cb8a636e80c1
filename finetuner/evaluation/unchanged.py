"""What fails leaves no half of a change behind."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Method = TypeVar('Method', bound=Callable[..., Any])


def unchanged_by_failure(method: Method) -> Method:
    """A method after whose failure all attributes are what they were before."""

    @wraps(method)
    def tried(self: Any, *given: Any, **options: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *given, **options)
        except BaseException:
            vars(self).update(before)
            raise

    return cast(Method, tried)
