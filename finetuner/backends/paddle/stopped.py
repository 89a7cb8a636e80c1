"""A Paddle layer that is stopped in the middle of its forward."""

import threading
from typing import Any

from finetuner.backends.paddle import paddle
from finetuner.backends.paddle.around import Around
from finetuner.backends.paddle.parts import layers_of
from finetuner.backends.paddle.tracing import main, watch
from finetuner.errors import ModelError


class _Stop(BaseException):  # no Exception, which the model might catch
    def __init__(self, end: '_End', output: Any) -> None:
        super().__init__()
        self.end, self.output = end, output


class _End:
    # A hook that stays: Paddle iterates over a layer's hooks, so none may come and go while another thread calls it.
    ends = True

    def __init__(self, call: int) -> None:
        self.call = call
        self.left: dict[int, int] = {}  # calls until the end, of every thread that is in the model

    def __call__(self, layer: Any, inputs: Any, output: Any) -> None:
        thread = threading.get_ident()
        if thread in self.left:
            self.left[thread] -= 1
            if self.left[thread] == 0:
                raise _Stop(self, main(output))


class _Run:
    # One call of a model, to its end; what the layer gave there is kept.
    def __init__(self, end: _End) -> None:
        self.end, self.found = end, None

    def __enter__(self) -> '_Run':
        self.end.left[threading.get_ident()] = self.end.call
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.end.left.pop(threading.get_ident(), None)
        own = isinstance(error, _Stop) and error.end is self.end  # it may be the end of another one around this
        self.found = error.output if own else None
        return own

    def output(self, at: str) -> Any:
        if self.found is None:
            raise ModelError(
                f'The model ended before call {self.end.call} of {at}: it takes another way with these inputs.'
            )
        return self.found


class CutOff(paddle.nn.Layer):
    """Stands where a layer was that runs only after the cut."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """An error: with the inputs that the model was cut with, nobody came here before the cut."""
        raise ModelError('This layer was cut off, and with these inputs the model wants it: it takes another way.')


class Stopped(Around):
    """Gives what a layer gives, and runs nothing after it.

    Args:
        model: takes the inputs.
        at: the path of the layer; '' takes the tensor out of the model's own output.
        call: which of its calls, from 1.
    """

    def __init__(self, model: Any, at: str, call: int = 1) -> None:
        super().__init__()
        self.model = model
        self.at, self.end = at, _End(call)
        if at:
            watch(layers_of(model)[at], self.end)

    @property
    def within(self) -> Any:
        """The layer whose forward says how this one is called."""
        return self.model

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The main tensor of the layer's output."""
        if not self.at:
            return main(self.model(*args, **kwargs))
        with _Run(self.end) as reached:  # no try, which paddle.jit does not read
            self.model(*args, **kwargs)
        return reached.output(self.at)

    def extra_repr(self) -> str:
        return f'ends at {self.at!r}' + (f', call {self.end.call}' if self.end.call > 1 else '')
