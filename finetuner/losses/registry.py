"""Which loss and miner for which data: the choice when nobody chose, and the refusal of what cannot work."""

from collections.abc import Callable, Mapping
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


def choose(kind: str, width: int = 1) -> Loss:
    """The loss for a kind of supervision when none is named.

    Args:
        kind: one of `KINDS`.
        width: the number of columns of scored data.
    """
    if kind == 'score':
        options: dict[str, Any] = {}
        name = 'CoSENTLoss' if width == 2 else 'MarginMSELoss'
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

    Raises:
        ArgumentError: a name or an option is unknown, or loss, miner and data do not fit together.

    >>> resolve('TripletLoss', 'TripletMarginMiner', loss_options={'margin': 0.3}).miner
    TripletMarginMiner(margin=0.2, type_of_triplets='all', distance=None)
    """
    for_loss, for_miner = mapping('loss_options', loss_options), mapping('miner_options', miner_options)
    if loss is None:
        if for_loss:
            raise ArgumentError(f'loss_options={dict(for_loss)!r} need a loss: name one, such as InfoNCELoss.')
        loss = choose(kind, width)
    made = _make(loss, 'loss', Loss, Miner, for_loss)
    mine = None if miner is None else _make(miner, 'miner', Miner, Loss, for_miner)
    if miner is None and for_miner:
        raise ArgumentError(
            f'miner_options={dict(for_miner)!r} need a miner: name one of {enumerated(sorted(MINERS), most=20)}.'
        )
    check(made, kind, width, mine)
    return Objective(made, mine)


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
            raise ArgumentError(
                f'{_name(member)} needs {_needs(member)}; this data has {came}. {_fitting(kind, width)}'
            )
    if miner is None:
        return
    own = next((member.miner for member in members if getattr(member, 'miner', None) is not None), None)
    if own is not None:
        raise ArgumentError(f'{name} has its own miner already, {own!r}; take that or miner={miner!r}.')
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


def _needs(loss: Loss) -> str:
    if loss.expects is Scores:
        most = ' or more' if loss.more else ''
        return 'scores' if loss.columns is None else f'scores in {loss.columns}{most} columns'
    return KINDS['class'] if loss.candidates == 'classes' or loss.by_class else 'labels, sessions, pairs or instances'


def _make(what: Any, kind: str, own: type, other: type, options: Mapping[str, Any]) -> Any:
    if isinstance(what, str):
        return get(what, kind, **options)
    if isinstance(what, type) and issubclass(what, own):
        return build(what, **options)
    if isinstance(what, type) or isinstance(what, other) or not callable(what):
        raise ArgumentError(
            f'{kind}={what!r} is no {kind}: expected a name, a {own.__name__}, a class of them, or a function.'
        )
    if options:
        raise ArgumentError(
            f'{kind}_options={dict(options)!r} are for a {kind} given by name; this one is made already: {what!r}.'
        )
    return what


def _name(what: Any) -> str:
    return str(getattr(what, '__name__', type(what).__name__))


__all__ = ['KINDS', 'LOSSES', 'MINERS', 'build', 'check', 'choose', 'find', 'get', 'resolve']
