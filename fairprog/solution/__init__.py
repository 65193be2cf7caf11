"""The frozen answer of a program: populations, maps, prices, certificate, bounds."""

from fairprog.codec import load
from fairprog.solution.bounds import Bounds
from fairprog.solution.certificate import Certificate
from fairprog.solution.solution import Solution

__all__ = ["Bounds", "Certificate", "Solution", "load"]
