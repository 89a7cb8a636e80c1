"""What a Paddle layer consists of: layers by path, weights, and statistics, which Paddle calls parameters as well."""

from typing import Any

from finetuner.backends.paddle import paddle

_nn = paddle.nn
TENSORS = (paddle.Tensor, paddle.pir.Value)
"""Tensors, and what stands for them while paddle.jit reads a model."""
StaticFunction = paddle.jit.dy2static.program_translator.StaticFunction
_STATISTICS = (
    ((_nn.BatchNorm, _nn.layer.norm._BatchNormBase), ('_mean', '_variance')),
    (_nn.SpectralNorm, ('weight_u', 'weight_v')),
)


def statistics(layer: Any) -> tuple[str, ...]:
    """The names of a layer's parameters that are statistics, which Paddle does not tell from weights."""
    return next((names for kinds, names in _STATISTICS if isinstance(layer, kinds)), ())


def eager(model: Any) -> Any:
    """The model itself, run by Python from now on: hooks see nothing of what paddle.jit has compiled."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer.forward, StaticFunction):
            layer.forward = layer.forward.dygraph_function
    return model


def layers_of(model: Any) -> dict[str, Any]:
    """All layers by their first path, the model itself as ''."""
    return dict(model.named_sublayers(include_self=True))


def weights(model: Any, below: bool = True) -> dict[str, Any]:
    """The parameters that are no statistics, by their first path; shared ones once."""
    moving = {id(layer._parameters[name]) for layer in model.sublayers(True) for name in statistics(layer)}
    return {name: p for name, p in model.named_parameters(include_sublayers=below) if id(p) not in moving}


def loose(layer: Any) -> dict[str, Any]:
    """The weights that a layer with children holds by itself, by name; none that a child holds as well."""
    children = [child for _, child in layer.named_children()]
    theirs = {id(p) for child in children for p in child.parameters()}
    return {name: p for name, p in weights(layer, below=False).items() if children and id(p) not in theirs}
