"""What arguments of the command line may be, and commands that are imported when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

TRANSPORTS = ("monotone", "whitened", "diagonal", "scaling", "translation")


def count(text: str) -> int:
    """Return a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0; found {value}")
    return value


def folds(text: str) -> int:
    """Return a number of folds, at least 2."""
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2; found {value}")
    return value


def share(text: str) -> float:
    """Return a share, between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1; found {value}")
    return value


def later(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a command that is imported, with the libraries it needs, when it runs."""

    def run(options: argparse.Namespace) -> int:
        return int(getattr(import_module(f"fairprog.cli.{module}"), name)(options))

    return run
