"""From frames, terms and conditions to CVXPY problems, and from their solutions to numpy.

The only package that imports CVXPY. Only here are variables created, DCP checked, constraints
labelled and solvers called.
"""
