"""Which negatives a guide, another model, takes for false ones."""

from finetuner.dispatch import get_namespace
from finetuner.losses.distances import epsilon
from finetuner.losses.reduce import count, quotient
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor

STRATEGIES = ('absolute', 'relative')


def guide_limit(relation: Relation, similar: Tensor, margin: float, strategy: str) -> Tensor:
    """(N, 1) what the guide may find of a true negative at most; infinite for an anchor without positives.

    Args:
        relation: who belongs to whom.
        similar: (N, M) cosines in the eyes of the guide; several positives are judged by their mean, g.
        margin: by how much a negative must be less similar.
        strategy: 'absolute' is `g - margin`, 'relative' is `g - |g| * margin`.
    """
    xp = get_namespace(similar)
    number = count(relation.positives, similar, axis=1, keepdims=True)
    own = quotient(xp.sum(xp.where(relation.positives, similar, 0.0), axis=1, keepdims=True), number)
    less = margin * xp.abs(own) if strategy == 'relative' else margin
    limit = own - less + 8 * epsilon(similar)  # equal to rounding is not more
    return xp.where(number > 0, limit, float('inf'))
