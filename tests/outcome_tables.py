"""Random outcome tables of several sizes, and the notions that are defined for them."""

import numpy as np

import fairprog as fp
from fairprog.programs.compile.terms import TableVariables

SHAPES = [(2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (4, 3)]  # (K, G)
ANY_K = [fp.DemographicParity, fp.EqualOpportunity, fp.EqualizedOdds, fp.AccuracyParity]


def random_table(rng, K=2, G=2, **labels):
    """Return a table with every entry positive."""
    return fp.OutcomeTable(rng.dirichlet(np.full(G * K * K, 2.0)).reshape(G, K, K), **labels)


def notions_for(K):
    """Return the classes of notions that are defined for K classes."""
    return [*ANY_K, fp.PredictiveEquality] if K == 2 else ANY_K


def constant_view(table):
    """Return the view of a table whose numbers are known."""
    return TableVariables(table.Z, table.cell_mass, table.classes, table.groups)
