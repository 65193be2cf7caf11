"""What compiling asks of a family besides its group problems: parameters for custom conditions."""

from __future__ import annotations

from typing import Any, ClassVar

from fairprog.errors import ModelError
from fairprog.programs.question import Question


class Parameters:
    """The question, and the parameters of cells that stay as they are."""

    view_names: ClassVar[tuple[str, ...]] = ()  # steered parameters that a condition sees
    original_names: ClassVar[tuple[str, ...]] = ()  # those of the original population

    def __init__(self, question: Question) -> None:
        self.question = question
        self.D: Any = question.population
        self.n_features: int = self.D.n_features

    def parameter(self, name: str, i: int, a: int) -> Any:
        """Return a parameter of a cell that stays as it is, or of the map that leads to it."""
        raise ModelError(f"{type(self.D).__name__} has no parameter {name!r}.")
