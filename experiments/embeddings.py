"""Populations the size of embeddings: a random family, and Bias in Bios (MiniLM, 384-d).

The real ones need the environment variable FAIRPROG_DATA, the folder of the data sets, with
`bios/bios_minilm.npz` in it (De-Arteaga et al., 2019; 17,040 distinct biographies, mean-pooled
MiniLM embeddings, occupation, gender).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fairprog as fp
from fairprog.labels import Array

from .claims import Unavailable

__all__ = ["bios", "embedding_population"]

SIX = ("attorney", "nurse", "physician", "professor", "psychologist", "surgeon")


def embedding_population(
    d: int,
    K: int,
    seed: int = 0,
    *,
    separation: float | None = None,
    covariance: str = "full",
) -> fp.Normal:
    """Return a population of two groups that looks like class-conditional embeddings.

    A common covariance with a power-law spectrum (variance j^-1, turned at random); class means
    3 to 6 Mahalanobis units from their centre; a group shift of 1 to 3 units for every class,
    half of it shared; every cell's covariance is Wishart about the common one with 2d to 20d
    degrees of freedom.

    Parameters
    ----------
    d, K : int
        Features and classes.
    seed : int
    separation : float, optional
        Distance of every class mean from the centre instead of 3 to 6 units (16: the hard case).
    covariance : {"full", "tied"}
        "tied": one Wishart matrix per group instead of one per cell.
    """
    rng = np.random.default_rng(seed)
    G = 2
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    root = turn * np.arange(1.0, d + 1.0) ** -0.5

    def direction(size: tuple[int, ...]) -> Array:
        v = rng.normal(size=(*size, d))
        unit: Array = v / np.linalg.norm(v, axis=-1, keepdims=True)
        return unit

    far = rng.uniform(3.0, 6.0, size=(K, 1)) if separation is None else separation
    white = np.repeat((far * direction((K,)))[:, None], G, axis=1)
    shift = 0.5 * direction((1,)) + 0.5 * direction((K,))
    white[:, 1] += (
        rng.uniform(1.0, 3.0, size=(K, 1)) * shift / np.linalg.norm(shift, axis=1)[:, None]
    )
    tied = covariance == "tied"
    cov = np.empty((1 if tied else K, G, d, d))
    for cell in np.ndindex(cov.shape[:2]):
        cov[cell] = _wishart(rng, root, int(rng.uniform(2.0, 20.0) * d))
    prior = rng.dirichlet(np.full(K * G, 5.0)).reshape(K, G)
    spread = cov[0] if tied else cov
    return fp.Normal(prior, white @ root.T, cov=spread, covariance=covariance, groups=["a", "b"])


def _wishart(rng: np.random.Generator, root: Array, rows: int) -> Array:
    """Return a Wishart matrix over its degrees of freedom (Bartlett's decomposition)."""
    d = len(root)
    L = np.tril(rng.normal(size=(d, d)), -1)
    L[np.diag_indices(d)] = np.sqrt(rng.chisquare(rows - np.arange(d)))
    L = root @ L
    out: Array = L @ L.T / rows
    return out


def bios(
    n_occupations: int = 6, *, unit_length: bool = False
) -> tuple[Array, NDArray[np.str_], NDArray[np.str_]]:
    """Return embeddings, occupations and genders of Bias in Bios, duplicates left out.

    Parameters
    ----------
    n_occupations : int
        6 keeps attorneys, nurses, physicians, professors, psychologists and surgeons; another
        number keeps the occupations with the most rows in their smaller gender.
    unit_length : bool
        Divide every embedding by its length; three columns that are constant before are not
        after, and tell the cells apart, so normal laws need them dropped then.

    Raises
    ------
    Unavailable
        Without FAIRPROG_DATA or the file.
    """
    path = Path(os.environ.get("FAIRPROG_DATA", "")) / "bios" / "bios_minilm.npz"
    if not path.is_file():
        raise Unavailable("it needs FAIRPROG_DATA, with bios/bios_minilm.npz in it")
    with np.load(path, allow_pickle=False) as stored:
        keep = (stored["dup_of"] < 0) & (stored["gender"] != "unknown")
        X, y, a = (stored[name][keep] for name in ("X", "occupation", "gender"))
    names = sorted(set(y.tolist()))
    smaller = {c: min(int(((y == c) & (a == g)).sum()) for g in ("F", "M")) for c in names}
    most = sorted(names, key=lambda c: -smaller[c])[:n_occupations]
    rows = np.isin(y, SIX if n_occupations == len(SIX) else most)
    X = X[rows].astype(float)
    if unit_length:
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    return X, y[rows], a[rows]
