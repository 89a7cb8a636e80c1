"""A PyTorch module as an encoder."""

import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from finetuner import inference
from finetuner.backends.torch import adapter, execution, ops
from finetuner.data.tokens import is_tokenizer
from finetuner.errors import CheckpointError
from finetuner.typing import CollateFn, Inputs

SENTENCES = 'sentence_embedding'
"""Where a model of sentence-transformers has its vectors, among others that it gives."""


class Encoder(inference.Encoder):
    """Calls the module with tensors on its own device and in its own precision."""

    framework = 'torch'
    before: tuple[bool, torch.dtype] | None = None
    """Within `computing`, whether there was autocast before, and its type."""

    def place(self, device: str | None) -> None:
        self.device = inference.wanted_device(device, torch.cuda.is_available(), 'PyTorch')
        self.model.to(self.device)

    @property
    def tokenizer(self) -> CollateFn | None:
        if not any(kind.__name__ == 'SentenceTransformer' for kind in type(self.model).__mro__):
            return None
        own = getattr(self.model, 'tokenizer', None)
        return own if is_tokenizer(own) else None

    @property
    def shapes_matter(self) -> bool:
        return hasattr(self.model, '_orig_mod')  # it was compiled, by torch.compile

    def native(self, inputs: Inputs) -> Inputs:
        """Arrays and tensors as tensors where the model is; floats in the model's precision."""
        first = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        device = self.device if first is None else first.device

        def convert(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                leaf = torch.from_numpy(np.ascontiguousarray(leaf))
            if not isinstance(leaf, torch.Tensor):
                return leaf
            return leaf.to(device, first.dtype if first is not None and leaf.is_floating_point() else None)

        return inference.leaves(convert, inputs)

    def call(self, inputs: Inputs, model: Any = None) -> Any:
        """What the model, or another in its place, gives for a batch in its present mode."""
        compiled = getattr(self.model, '_orig_mod', self.model)  # by torch.compile, which hides the signature
        args, kwargs = inference.arguments(compiled.forward, self.native(inputs))
        output = (self.model if model is None else model)(*args, **kwargs)
        return output[SENTENCES] if isinstance(output, Mapping) and SENTENCES in output else output

    def no_processes(self) -> str | None:
        forks = 'fork' in multiprocessing.get_all_start_methods()  # they have the model without any copy
        return None if self.device == 'cpu' and forks else super().no_processes()

    @contextmanager
    def computing(self, precision: str) -> Iterator[None]:
        device, before = self.device.partition(':')[0], self.before
        if precision != '32':
            self.before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        try:
            with execution.autocast(precision, device)():
                yield
        finally:
            self.before = before

    def as_is(self) -> AbstractContextManager[None]:
        if self.before is None:
            return nullcontext()
        enabled, dtype = self.before  # the weights that are cast already stay so
        return torch.autocast(self.device.partition(':')[0], dtype, enabled=enabled)

    def forward(self, inputs: Inputs) -> Any:
        training = [module for module in self.model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.no_grad():  # in inference mode lazy weights and caches would be made that cannot be trained with
                return self.call(inputs)
        finally:
            for module in training:
                module.training = True

    def weights(self) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in self.arrays()}

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in self.model.state_dict().items():
            yield name, ops.to_numpy(value)

    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        own = self.model.state_dict()
        weights = adapter.beside(self.model, weights)
        inference.check_fit(own, weights)
        self.model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})

    def average(self, averages: dict[str, Any], decay: float) -> None:
        frozen = {name for name, p in self.model.named_parameters(remove_duplicate=False) if not p.requires_grad}
        moved, towards = [], []
        for name, value in self.model.state_dict().items():
            if name in frozen:
                continue
            wide = value.float() if value.is_floating_point() and value.itemsize < 4 else value
            if name in averages and value.is_floating_point():
                moved.append(averages[name])
                towards.append(wide)
            else:
                averages[name] = wide.clone()
        if moved:
            get_ema_multi_avg_fn(decay)(moved, towards, None)

    def merged(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in adapter.merged(self.model).items()}

    def adapters(self) -> int:
        return len(adapter.adapted(self.model))

    def architecture(self) -> dict[str, Any] | None:
        # A plain module's architecture is its code; a model of transformers is its configuration, if it is whole.
        kind = type(self.model)
        if kind.__module__.partition('.')[0] != 'transformers':
            return None
        found = {'library': 'transformers', 'class': kind.__name__, 'config': self.model.config.to_dict()}
        with torch.device('meta'):
            own = build(found).state_dict()
        return found if own.keys() == self.model.state_dict().keys() else None

    def trainable(self) -> int:
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def layers(self) -> list[str]:
        return [type(module).__name__ for module in self.model.modules()]


def build(architecture: Mapping[str, Any]) -> torch.nn.Module:
    """The model with fresh weights, from what `Encoder.architecture` gave."""
    import transformers

    kind: Any = getattr(transformers, architecture['class'], None)
    if not issubclass(kind or type, transformers.PreTrainedModel):
        raise CheckpointError(f'transformers {transformers.__version__} has no model {architecture["class"]!r}.')
    model: torch.nn.Module = kind(kind.config_class.from_dict(dict(architecture['config'])))
    return model.eval()
