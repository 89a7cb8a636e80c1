"""A PyTorch module that is stopped in the middle of its forward."""

import sys
import threading
from typing import Any

import torch
from torch import nn

from finetuner.backends.torch.around import Around
from finetuner.backends.torch.tracing import main
from finetuner.errors import ModelError


class _Stop(BaseException):  # no Exception, which the model might catch
    def __init__(self, by: object, output: torch.Tensor) -> None:
        super().__init__()
        self.by, self.output = by, output


def _called() -> dict[str, Any]:
    # The modules that torch.export takes itself to be in. An exception that passes through them leaves them there
    # (torch 2.13: "AssertionError: Unexpected key").
    if not torch.compiler.is_exporting():
        return {}
    mode = sys.modules['torch.fx.experimental.proxy_tensor'].get_proxy_mode()
    return getattr(getattr(mode, 'tracer', None), 'module_stack', {})


class CutOff(nn.Module):
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

    def __init__(self, model: nn.Module, at: str, call: int = 1) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self.at, self.call = at, call

    @property
    def within(self) -> nn.Module:
        """The module whose forward says how this one is called."""
        return self.model

    def run(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The main tensor of the layer's output."""
        if not self.at:
            return main(self.model(*args, **kwargs))
        left, thread, own = self.call, threading.get_ident(), object()

        def stop(module: nn.Module, _: Any, output: Any) -> None:
            nonlocal left
            if threading.get_ident() == thread:  # not another thread's pass through the same layer
                left -= 1
                if left == 0:
                    raise _Stop(own, main(output))

        handle, called = self._last().register_forward_hook(stop), _called()
        passed = len(called)
        try:
            self.model(*args, **kwargs)
        except _Stop as reached:
            if reached.by is not own:  # of another one around this
                raise
            while len(called) > passed:
                called.popitem()
            return reached.output
        finally:
            handle.remove()
        raise ModelError(
            f'The model ended before call {self.call} of {self.at}: it takes another way with these inputs.'
        )

    def _last(self) -> nn.Module:
        # If this was cut once more, and earlier, then what stands where the layer was.
        module: Any = self.model
        for name in self.at.split('.'):
            if not isinstance(module, CutOff):
                module = getattr(module, name)
        return module

    def extra_repr(self) -> str:
        return f'ends at {self.at!r}' + (f', call {self.call}' if self.call > 1 else '')
