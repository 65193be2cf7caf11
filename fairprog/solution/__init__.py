"""The frozen answer of a program: populations, maps, prices, certificate, bounds."""

from fairprog.codec import load
from fairprog.solution.bounds import Bounds
from fairprog.solution.certificate import Certificate
from fairprog.solution.channel import Channel, SplitMap
from fairprog.solution.classifier import RandomizedClassifier
from fairprog.solution.classifier_solution import ClassifierCertificate, ClassifierSolution
from fairprog.solution.frontier import Frontier
from fairprog.solution.inferred import Estimate, Inference
from fairprog.solution.nearest_fair import FairCertificate, NearestFairSolution
from fairprog.solution.quantile_map import QuantileMap
from fairprog.solution.reweighted import ReweightedSolution
from fairprog.solution.score_solution import ScoreCertificate, ScoreSolution
from fairprog.solution.solution import Solution
from fairprog.solution.threshold_classifier import ThresholdClassifier

__all__ = [
    "Bounds",
    "Certificate",
    "Channel",
    "ClassifierCertificate",
    "ClassifierSolution",
    "Estimate",
    "FairCertificate",
    "Frontier",
    "Inference",
    "NearestFairSolution",
    "QuantileMap",
    "RandomizedClassifier",
    "ReweightedSolution",
    "ScoreCertificate",
    "ScoreSolution",
    "Solution",
    "SplitMap",
    "ThresholdClassifier",
    "load",
]
