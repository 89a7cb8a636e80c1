"""Maps of vectors in two dimensions: by their principal components, or by UMAP."""

from typing import Any, NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, DataError, MissingExtraError, nearest

PROJECTIONS = ('pca', 'umap')
NEIGHBOURS = 15
"""That UMAP looks at."""


class Map(NamedTuple):
    """Points in the plane.

    Attributes:
        points: (n, 2).
        kept: which part of the variance of the vectors the two dimensions have; None of UMAP, which has no such number.
    """

    points: np.ndarray
    kept: float | None


def check(projection: str) -> None:
    """Refuse a projection that is not known, or not installed, before there is work to lose.

    Raises:
        ArgumentError: there is none of that name.
        MissingExtraError: UMAP is not installed.
    """
    if projection not in PROJECTIONS:
        raise ArgumentError(f'There is no projection {projection!r}. {nearest(projection, PROJECTIONS)}')
    if projection == 'umap':
        _umap()


def mapped(vectors: np.ndarray, projection: str = 'pca', distance: str = 'cosine', seed: int = 0) -> Map:
    """Vectors in two dimensions.

    Args:
        vectors: (n, D).
        projection: 'pca' or 'umap'.
        distance: by which they are compared; for 'cosine' their lengths do not count.
        seed: of UMAP's chance.

    Raises:
        DataError: there are too few for UMAP.
    """
    wide = np.asarray(vectors, np.float64)
    if distance == 'cosine':
        wide = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return pca(wide) if projection == 'pca' else umap(wide, seed)


def pca(vectors: np.ndarray) -> Map:
    """The two directions in which vectors (n, D) differ most.

    >>> pca(np.array([[0.0, 0.0, 5.0], [0.0, 2.0, 5.0], [0.0, 4.0, 5.0]]))
    Map(points=array([[-2.,  0.],
           [ 0.,  0.],
           [ 2.,  0.]]), kept=1.0)
    """
    centred = vectors - vectors.mean(axis=0)
    # Of D x D or n x n products the smaller; both have the same largest eigenvalues.
    wide = centred.shape[1] > len(centred)
    values, directions = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    best, chosen = values[::-1][:2], directions[:, ::-1][:, :2]
    points = chosen * np.sqrt(np.maximum(best, 0)) if wide else centred @ chosen
    # An eigenvector may as well point the other way: the component that is largest is positive.
    signs = np.sign(points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])])
    points = np.pad(points * np.where(signs < 0, -1, 1), ((0, 0), (0, 2 - points.shape[1])))
    if len(points) > 1 and points[0, 0] > points[-1, 0] and np.allclose(points[:, 1], 0):
        points[:, 0] *= -1
    total = float(np.maximum(values, 0).sum())
    return Map(points, float(np.maximum(best, 0).sum()) / total if total > 0 else 1.0)


def umap(vectors: np.ndarray, seed: int = 0) -> Map:
    """Vectors (n, D) by UMAP, which keeps neighbours together; distances between groups mean little.

    Source: McInnes, Healy and Melville, 2018.

    Raises:
        DataError: there are too few.
        MissingExtraError: it is not installed.
    """
    if len(vectors) < NEIGHBOURS + 1:
        raise DataError(
            f"UMAP needs {NEIGHBOURS + 1} vectors at least, and there are {len(vectors)}: projection='pca' draws them."
        )
    found = _umap()(n_components=2, n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1).fit_transform(vectors)
    return Map(np.asarray(found, np.float64), None)


def turned(points: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Points (n, 2), turned and mirrored so that they lie most like others (n, 2); distances stay what they are.

    Source: Schönemann, 1966.
    """
    centred = points - points.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ (like - like.mean(axis=0)))
    found: np.ndarray = centred @ (left @ right)
    return found


def _umap() -> Any:
    # umap imports tensorflow where it is installed, for a variant that is not used here.
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        if error.name != 'umap':
            raise
        raise MissingExtraError(
            "projection='umap' needs the package 'umap-learn', which is not installed. Install it with: "
            "pip install 'finetuner[umap]', or leave projection out: 'pca' needs nothing."
        ) from error
    return UMAP
