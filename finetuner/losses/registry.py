"""Which loss and miner for which data: the choice when nobody chose, and the refusal of what cannot work."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from finetuner.errors import ArgumentError, enumerated
from finetuner.losses.base import Loss
from finetuner.losses.miners.base import Miner
from finetuner.losses.names import LOSSES, MINERS, build, find, get
from finetuner.losses.objective import Objective
from finetuner.losses.options import mapping
from finetuner.losses.relation import Scores

KINDS = {
    'class': 'class labels',
    'instance': 'items without labels',
    'pair': 'pairs without scores',
    'score': 'scores',
    'session': 'sessions of related items',
}
"""The kinds of supervision, and what an error calls them."""


def choose(kind: str, width: int = 1, scores: int | None = None) -> Loss:
    """The loss for a kind of supervision when none is named.

    Args:
        kind: one of `KINDS`.
        width: the number of columns of scored data.
        scores: how many scores a row has; None is not known.
    """
    if kind == 'score':
        options: dict[str, Any] = {}
        each = width > 3 and scores == width - 1  # of two scores the difference is as good
        name = 'CoSENTLoss' if width == 2 else 'DistillKLDivLoss' if each else 'MarginMSELoss'
    else:
        name, options = 'InfoNCELoss', {'temperature': {'pair': 0.05, 'instance': 0.1}.get(kind, 0.07)}
        if kind == 'pair':
            options['symmetric'] = True
    loss: Loss = get(name, **options)
    return loss


def resolve(
    loss: str | Loss | type | Callable[..., Any] | None = None,
    miner: str | Miner | type | Callable[..., Any] | None = None,
    *,
    loss_options: Mapping[str, Any] | None = None,
    miner_options: Mapping[str, Any] | None = None,
    kind: str = 'class',
    width: int = 1,
    scores: int | None = None,
) -> Objective:
    """What training lowers, from whatever people name a loss and a miner by.

    Args:
        loss: a name, a `Loss`, a subclass of it, any `f(anchors, candidates, relation) -> scalar`, or None for the
            loss that suits the data.
        miner: a name, a `Miner`, a subclass of it, any `f(distances, relation) -> relation`, or None for no miner.
        loss_options: for a loss given by name or class.
        miner_options: for a miner given by name or class.
        kind: of supervision, one of `KINDS`.
        width: the number of columns of pairs and scored data, else 1.
        scores: how many scores a row has; None is not known.

    Raises:
        ArgumentError: a name or an option is unknown, or loss, miner and data do not fit together.

    >>> resolve('TripletLoss', 'TripletMarginMiner', loss_options={'margin': 0.3}).miner
    TripletMarginMiner(margin=0.2, type_of_triplets='all', distance=None)
    """
    loss_options, miner_options = mapping('loss_options', loss_options), mapping('miner_options', miner_options)
    if loss is None:
        if loss_options:
            raise ArgumentError(f'loss_options={dict(loss_options)!r} need a loss: name one, such as InfoNCELoss.')
        loss = choose(kind, width, scores)
    made = make(loss, 'loss', loss_options)
    mine = None if miner is None else make(miner, 'miner', miner_options)
    if miner is None and miner_options:
        raise ArgumentError(
            f'miner_options={dict(miner_options)!r} need a miner: name one of {enumerated(sorted(MINERS), most=20)}.'
        )
    check(made, kind, width, mine)
    objective = Objective(made, mine)
    for one in objective.miners():
        if getattr(one, 'packaged', False):
            raise ArgumentError(
                f'{_name(one)} takes three places of a batch each for a triplet, and here batches are drawn. Leave it '
                f'out and give rows (anchor, positive, negative).'
            )
    return objective


def check(loss: Any, kind: str, width: int = 1, miner: Any = None) -> None:
    """Whether a loss and a miner can work on a kind of supervision.

    Args:
        loss: a `Loss`; any other callable is taken to know what it does.
        kind: one of `KINDS`.
        width: the number of columns of pairs and scored data, else 1.
        miner: a `Miner`, any callable, or None.

    Raises:
        ArgumentError: it cannot; says why and names the losses that can.
    """
    name = _name(loss)
    members = list(loss.members()) if isinstance(loss, Loss) else [loss]
    for member in members:
        if isinstance(member, Loss) and not _fits(member, kind, width):
            came = f'{KINDS[kind]} in {width} columns' if kind == 'score' else KINDS[kind]
            raise ArgumentError(f'{_name(member)} needs {needs(member)}; this data has {came}. {_fitting(kind, width)}')
    own = [member.miner for member in members if getattr(member, 'miner', None) is not None]
    if miner is not None and own:
        raise ArgumentError(f'{name} has its own miner already, {own[0]!r}; take that or miner={miner!r}.')
    for one in own if miner is None else [miner]:
        _check_miner(one, name, members, kind, width)


def _check_miner(miner: Any, name: str, members: list[Any], kind: str, width: int) -> None:
    if kind == 'score' or all(getattr(member, 'candidates', 'items') == 'classes' for member in members):
        why = 'compares items with learned classes' if kind != 'score' else 'goes by the scores of all rows'
        raise ArgumentError(f'{_name(miner)} has nothing to choose from: {name} {why}. Leave the miner out.')
    if width > 1 and getattr(miner, 'within', False):
        raise ArgumentError(
            f'{_name(miner)} looks for pairs within one batch, and this data has {width} columns. '
            f'Take TripletEasyHardMiner.'
        )


def _fitting(kind: str, width: int, most: int = 12) -> str:
    # A sentence that names losses for a kind of supervision, the one that is usual first.
    usual = _name(choose(kind, width))
    names = sorted((name for name in LOSSES if _fits(get(name), kind, width)), key=lambda name: name != usual)
    if not names:
        return 'No loss fits such data.'
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return f'Losses that fit: {", ".join(names[:most])}{more}.'


def _fits(loss: Loss, kind: str, width: int) -> bool:
    if kind == 'score' or loss.expects is Scores:
        if kind != 'score' or loss.expects is not Scores:
            return False
        return loss.columns in (None, width) or (loss.more and width > (loss.columns or 0))
    return kind == 'class' or (loss.candidates == 'items' and not loss.by_class)


def needs(loss: Loss) -> str:
    """The data that a loss can work on, for a sentence."""
    if loss.expects is Scores:
        most = ' or more' if loss.more else ''
        return 'scores' if loss.columns is None else f'scores in {loss.columns}{most} columns'
    return KINDS['class'] if loss.candidates == 'classes' or loss.by_class else 'labels, sessions, pairs or instances'


def make(what: Any, kind: str = 'loss', options: Mapping[str, Any] | None = None) -> Any:
    """A loss or a miner, of what people name it by, see `resolve`.

    Args:
        what: a name, a made one, its class, or a function.
        kind: 'loss' or 'miner'.
        options: where it is given by name or class.

    Raises:
        ArgumentError: it is none, an option is wrong, or it is a module of a framework whose weights nobody would
            train.
    """
    options = mapping(f'{kind}_options', options)
    own, other = (Loss, Miner) if kind == 'loss' else (Miner, Loss)
    if isinstance(what, str):
        return get(what, kind, **options)
    if isinstance(what, type) and issubclass(what, own):
        return build(what, **options)
    if isinstance(what, type) or isinstance(what, other) or not callable(what):
        raise ArgumentError(
            f'{kind}={what!r} is no {kind}: expected a name, a {own.__name__}, a class of them, or a function.'
        )
    if not isinstance(what, own):
        _check_native(what, kind)
    if options:
        raise ArgumentError(
            f'{kind}_options={dict(options)!r} are for a {kind} given by name; this one is made already: {what!r}.'
        )
    return what


def _check_native(what: Any, kind: str) -> None:
    if any(base.__module__.startswith('finetuner.backends.') for base in type(what).__mro__):
        name = _name((getattr(what, 'function', None) or what.call).loss)
        raise ArgumentError(
            f'{kind}={_name(what)} of {name} is for training loops of your own: what it learned or remembers would '
            f"stay as it is. Here give the loss itself: loss='{name}', or the {name} it was made of."
        )
    if any(_trainable(weight) for weight in _weights(what)):
        raise ArgumentError(
            f'{kind}={_name(what)} has weights of its own, and nobody would train them. Freeze them; or write a loss '
            f'that says what it learns: a subclass of finetuner.losses.base.Loss with parameters(…), whose values '
            f'compute(…) gets as arguments.'
        )


def _weights(what: Any) -> Iterable[Any]:
    # Of a Keras layer, or of a module of PyTorch or Paddle; nothing of a function.
    if hasattr(what, 'trainable_weights'):
        return list(what.trainable_weights)
    return list(what.parameters()) if hasattr(what, 'named_parameters') else []


def _trainable(weight: Any) -> bool:
    # Keras has listed those that are; Paddle says the opposite of PyTorch.
    frozen = getattr(weight, 'stop_gradient', False)
    return frozen is not True and bool(getattr(weight, 'requires_grad', True))


def _name(what: Any) -> str:
    return str(getattr(what, '__name__', type(what).__name__))


__all__ = ['KINDS', 'LOSSES', 'MINERS', 'build', 'check', 'choose', 'find', 'get', 'make', 'needs', 'resolve']
