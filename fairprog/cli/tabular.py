"""Steering the rows of a table: which columns, which program, and the solution that moves them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fairprog.cli.columns import Design, Feature
from fairprog.cli.complaints import require_values
from fairprog.cli.csv_table import Table, Text, as_written
from fairprog.codec import load, register, save
from fairprog.errors import DataError, FairprogWarning, ModelError
from fairprog.estimators import IdealSteering, ScoreSteering
from fairprog.fields import either, read, refuse
from fairprog.labels import Array, index_of
from fairprog.lots import together_words
from fairprog.populations import Normal
from fairprog.programs import NearestIdeal
from fairprog.solution import ScoreSolution, Solution
from fairprog.transports import Monotone, Transport

if TYPE_CHECKING:
    import pandas as pd

ROW = "number of the row"  # a column beside those of a data frame
KIND, STEP = "table_steering", "table_step"  # of files: a solution, a step of `fairprog fit`
STEPS: dict[str, Any] = {"ideal_steering": IdealSteering, "score_steering": ScoreSteering}


@dataclass(frozen=True)
class Plan:
    """The program to solve for every population fitted on rows of the same table.

    Attributes
    ----------
    steer : "all" or tuple of groups
    reference : str or None
        A group that stays; None is the first of them.
    transport : Transport
    base_rates : {"equalize", "keep"}
    """

    steer: Literal["all"] | tuple[str, ...]
    reference: str | None = None
    transport: Transport = field(default_factory=Monotone)
    base_rates: str = "equalize"

    @classmethod
    def choose(
        cls,
        design: Design,
        steer: Sequence[str] | None = None,
        reference: str | None = None,
        transport: Transport | None = None,
        base_rates: str = "equalize",
    ) -> Plan:
        """Fill in what was not asked for: every group but the reference, or the largest, moves.

        Raises
        ------
        DataError
            For groups that do not occur.
        """
        chosen: Literal["all"] | tuple[str, ...]
        if steer is None:
            sizes = [int((design.group == g).sum()) for g in design.groups]
            stays = int(np.argmax(sizes))
            if reference is not None:
                stays = index_of(design.groups, reference, "reference")
            chosen = tuple(g for k, g in enumerate(design.groups) if k != stays)
        elif list(steer) == ["all"]:
            if "all" in design.groups:
                raise DataError(
                    "--steer all moves every group, and one group is called 'all': give it "
                    "another name in the table.",
                    argument="steer",
                )
            chosen = "all"
        else:
            chosen = tuple(design.groups[index_of(design.groups, g, "steer")] for g in steer)
        return cls(chosen, reference, Monotone() if transport is None else transport, base_rates)

    def solve(
        self, design: Design, rows: Any = slice(None), solver: Literal["auto", "newton"] = "auto"
    ) -> Solution:
        """Fit a normal population to rows of the design and find the nearest ideal one.

        Parameters
        ----------
        design : Design
        rows : index array or slice
        solver : {"auto", "newton"}
            "newton" spares the comparison with a conic solver.
        """
        D = Normal.fit(
            design.X[rows],
            design.y[rows],
            sensitive_features=design.group[rows],
            classes=design.classes,
            groups=design.groups,
        )
        steer = self.steer if self.steer == "all" else list(self.steer)
        program = NearestIdeal(
            D, steer, self.transport, self.reference, base_rates=self.base_rates
        )
        return program.solve("auto" if self.steer == "all" else solver)


@dataclass(frozen=True, eq=False)
class TableSteering:
    r"""A solution and the columns of a table it speaks about.

    Attributes
    ----------
    label : str
    sensitive : tuple of str
        Columns of the class (used to fit only) and of the group.
    features : tuple of Feature
    solution : Solution, ScoreSolution or None
        What was solved: by `fairprog steer`, or by the step of `fairprog fit`; None where that
        rests on no optimisation (quantiles).
    step : IdealSteering, ScoreSteering or None
        What `fairprog fit` has fitted: it moves rows then, and not the solution.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fairprog.cli.columns import read_design
    >>> from fairprog.cli.csv_table import read_table
    >>> from fairprog.cli.tabular import Plan, TableSteering
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "scores.csv"
    >>> cells = [(g, y) for g in "ab" for y in (0, 1)]
    >>> lines = [f"{x * y + x + 1 + (g == 'b')},{y},{g}" for x in range(5) for g, y in cells]
    >>> _ = path.write_text("\n".join(["score,passed,group", *lines]))
    >>> table = read_table(path)
    >>> design = read_design(table, "passed", "group")
    >>> steering = TableSteering.fit(design, Plan.choose(design, ["b"]))
    >>> [round(float(x), 9) for x in steering.align(table).cells[0][:4]]
    [1.0, 1.0, 1.0, 1.0]
    >>> folder.cleanup()
    """

    label: str
    sensitive: tuple[str, ...]
    features: tuple[Feature, ...]
    solution: Solution | ScoreSolution | None
    step: Any = None

    @classmethod
    def fit(cls, design: Design, plan: Plan) -> TableSteering:
        """Fit a population to all rows of the design and solve the plan.

        Raises
        ------
        DataError, ModelError, InfeasibleError, SolverError
            As :class:`fairprog.NearestIdeal` does; features are called by their columns.
        """
        try:
            solution = plan.solve(design)
        except DataError as error:
            raise _by_name(error, design) from error
        return cls(design.label, design.sensitive, design.features, solution)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`align` reads; the label is none of them."""
        return (*self.sensitive, *(feature.name for feature in self.features))

    def align(
        self,
        table: Table,
        *,
        drop_rows: bool = False,
        unseen: Literal["error", "drop", "zeros"] = "error",
        key: str | None = None,
    ) -> Table:
        """Bring the features of every group into the common coordinates; no label is read.

        Parameters
        ----------
        table : Table
        drop_rows : bool
            Leave out rows with a missing value in a column that moves, or tells the group.
        unseen : {"error", "drop", "zeros"}
            What becomes of text that did not occur when the model was fitted, in a column that
            moves: its row is left out, or it is encoded as none of the known values. Text that
            stays passes as it is, missing or not.
        key : str, optional
            Column of identifiers: what is drawn at random goes by it, else by the row itself.

        Returns
        -------
        Table
            The same columns and rows; feature columns hold aligned numbers; text columns of
            three or more values stay, where the step leaves indicators, those of two hold one of
            the two; without such a step text gives way to its 0/1 columns.

        Raises
        ------
        DataError
            For columns that are not there or hold missing values, values that are no numbers,
            unseen levels and unknown groups.

        Warns
        -----
        FairprogWarning
            Where lots decide and there is no `key`, or most of its values are repetitions.
        """
        table, X, group = self.read(
            table, drop_rows=drop_rows, unseen=unseen, beside=() if key is None else (key,)
        )
        moved = self.moved(X, group, None if key is None else table.text(key))
        return table.replace(self._columns_of(table, X, moved))

    def moved(self, X: Array, group: Text, key: Any = None) -> Array:
        """Return rows of numbers in the common coordinates."""
        if self.step is None:
            return np.asarray(self.solved.align(X, sensitive_features=group))
        if key is None and self.step._draws and not self.step._shared:  # else the step says it
            warnings.warn(together_words("Tied values"), FairprogWarning, stacklevel=3)
        return np.asarray(self.step.transform(X, sensitive_features=group, key=key))

    def transform(
        self,
        X: pd.DataFrame,
        *,
        drop_rows: bool = False,
        unseen: Literal["error", "drop", "zeros"] = "error",
        key: str | None = None,
    ) -> pd.DataFrame:
        """Return a data frame with its features moved, as `fairprog apply` moves a file.

        Parameters
        ----------
        X : DataFrame
            With the columns of the features and of the group, by name; others stay as they are.
        drop_rows, unseen, key
            As for :meth:`align`.

        Raises
        ------
        DataError
            As :meth:`align`; ModelError for what is no data frame.
        """
        import pandas as pd

        if not isinstance(X, pd.DataFrame):
            raise ModelError(
                f"`X` must be a data frame with the columns {list(self.columns)}; found "
                f"{type(X).__name__}.",
                argument="X",
            )
        text = X.astype(object).where(X.notna(), "").map(str)
        header = tuple(map(str, X.columns))
        text = text.set_axis(range(len(header)), axis=1).reset_index(drop=True)
        text[len(header)] = np.arange(len(text)).astype(str)
        table = Table("X", (*header, ROW), text)
        moved = self.align(table, drop_rows=drop_rows, unseen=unseen, key=key)
        rows = moved.cells.iloc[:, -1].astype(int).to_numpy()
        old = {name: X.iloc[rows, k].array for k, name in enumerate(header)}
        pairs = {f.name for f in self.features if len(f.levels) == 2 and self.keeps(f)}
        numbers = {name for f in self.features if not self.keeps(f) for name in f.encoded}
        columns: dict[str, Any] = {}
        for k, name in enumerate(moved.header[:-1]):
            cells = moved.cells[k].to_numpy()  # by place, whatever the index of X
            if name in numbers:
                columns[name] = pd.to_numeric(cells)
            elif name in pairs:  # a word of two, or truth
                columns[name] = cells == "True" if old[name].dtype == bool else cells
            else:
                columns[name] = old[name]
        return pd.DataFrame(columns, index=X.index[rows])

    @property
    def groups(self) -> tuple[Any, ...]:
        """The groups it knows."""
        if self.step is None:
            return self.solved.original.groups
        return tuple(self.step.groups_.tolist())

    @property
    def solved(self) -> Solution:
        """The solution of `fairprog steer`."""
        assert isinstance(self.solution, Solution)
        return self.solution

    def read(
        self,
        table: Table,
        *,
        beside: Sequence[str] = (),
        drop_rows: bool = False,
        unseen: Literal["error", "drop", "zeros"] = "error",
    ) -> tuple[Table, Array, Text]:
        """Return the rows that are used, their features and groups; as :meth:`align`.

        `beside` : further columns that must be there, such as the label.
        """
        table.require([*self.columns, *beside])
        moving = [f for f in self.features if not self.stays(f)]
        also = (name for name in beside if name == self.label)
        columns = (*self.sensitive, *(f.name for f in moving), *also)
        if drop_rows:
            complete = ~np.any([table.missing(name) for name in columns], axis=0)
            if not complete.any():
                raise DataError(f"Every row of {table.name} has a missing value.")
            table = table.keep(complete)
        require_values(table, columns)
        if unseen == "drop":
            known_rows = ~np.any([feature.unseen(table) for feature in moving], axis=0)
            if not known_rows.any():
                raise DataError(f"Every row of {table.name} has a value the model does not know.")
            table = table.keep(known_rows)
        allow = unseen == "zeros"
        X = np.hstack(
            [f.encode(table, allow_unseen=allow or self.stays(f)) for f in self.features]
        )
        group = table.crossed(self.sensitive)
        known = self.groups
        strangers = sorted(set(group) - set(known))
        if strangers:
            raise DataError(
                f"Column {' & '.join(self.sensitive)!r} of {table.name} holds group(s) "
                f"{strangers[:5]}, which "
                f"the model does not know; it knows {list(known)}.",
                argument=self.sensitive[0],
            )
        return table, X, group

    def weights(self, table: Table) -> Array:
        """Return the weights of rows that carry the steered base rates, shape (n,).

        q~ / q of the row's class and group; NaN where the label is missing.

        Raises
        ------
        DataError
            For unknown labels or groups.
        """
        labelled = ~table.missing(self.label)
        weights = np.full(len(table), np.nan)
        weights[labelled] = self.solved.sample_weight(
            table.text(self.label)[labelled],
            sensitive_features=table.crossed(self.sensitive)[labelled],
        )
        return weights

    def _columns_of(
        self, table: Table, X: Array, moved: Array
    ) -> dict[str, list[tuple[str, Any]]]:
        """Return the features by the column they come from; what did not move stays as it was."""
        pairs = iter(zip(X.T, moved.T, strict=True))
        out: dict[str, list[tuple[str, Any]]] = {}
        for f in self.features:
            own = [(name, *next(pairs)) for name in f.encoded]
            if not f.levels:
                (_, before, after), kept = own[0], table.text(f.name)
                out[f.name] = [(f.name, np.where(before == after, kept, as_written(after, kept)))]
            elif not self.keeps(f):
                out[f.name] = [(name, after) for name, _, after in own]
            elif len(f.levels) == 2:  # moved to 0 or 1: to one of its two values
                (_, before, after), kept = own[0], table.text(f.name)
                other = next(v for v in f.levels if v not in f.kept)
                now = np.where(after == 1.0, f.kept[0], other)
                out[f.name] = [(f.name, np.where(before == after, kept, now))]
        return out

    def keeps(self, feature: Feature) -> bool:
        """Return whether a text column goes out as text.

        `IdealSteering` leaves indicators that exclude each other where they are, and moves a
        column of two values to one of the two.
        """
        several = len(feature.encoded) > 1 or len(feature.levels) == 2
        return several and bool(getattr(self.step, "snap", False))

    def stays(self, feature: Feature) -> bool:
        """Return whether a column goes out as it comes in, whatever it holds."""
        return self.keeps(feature) and len(feature.levels) > 2

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .json or .npz file, atomically; read it by :meth:`load`."""
        data: dict[str, Any] = {
            "label": self.label,
            "sensitive": self.sensitive,
            "features": [(f.name, f.levels, f.kept) for f in self.features],
        }
        if self.step is None:
            save(path, KIND, data | {"solution": self.solved.to_dict()})
        else:
            of = next(name for name, kind in STEPS.items() if isinstance(self.step, kind))
            save(path, STEP, data | {"of": of, "step": self.step.to_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableSteering:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If there is no such file, or it holds something else.
        """
        if not Path(path).is_file():
            raise DataError(f"There is no model file {str(path)!r}.", argument="model")
        found = load(path)
        if not isinstance(found, cls):
            raise DataError(
                f"{Path(path).name} holds a {type(found).__name__}; needed is a model written by "
                "`fairprog fit` or `fairprog steer --model`.",
                argument="model",
            )
        return found

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> TableSteering:
        solved = "solution" in data
        data = read(data, KIND if solved else STEP, FIELDS | (SOLVED if solved else FITTED))
        features = tuple(Feature(*entry) for entry in data["features"])
        step: Any = None if solved else STEPS[data["of"]].from_dict(data["step"])
        solution = Solution.from_dict(data["solution"]) if solved else step.solution_
        names = [name for f in features for name in f.encoded]
        known = all(set(f.kept) <= set(f.levels) for f in features)
        d = solution.original.n_features if solved else step.n_features_in_
        if not known or not len(names) == len(set(names)) == d:
            raise refuse("its features are not those of its solution")
        found = data["sensitive"]  # one name in older files
        sensitive = (found,) if isinstance(found, str) else tuple(found)
        return cls(data["label"], sensitive, features, solution, step)


def _by_name(error: DataError, design: Design) -> DataError:
    """Say which columns are concerned where features depend on each other exactly."""
    if error.argument not in ("cov", "mean"):
        return error
    where = np.ones(len(design.y), dtype=bool)
    if error.cell is not None:
        where = (design.y == error.cell[0]) & (design.group == error.cell[1])
    names = np.array(design.encoded, dtype=object)
    if where.sum() <= len(names):
        text = f"there are {where.sum()} rows for {len(names)} features"
    else:
        X = design.X[where] - design.X[where].mean(axis=0)
        scale = np.linalg.norm(X, axis=0)
        direction = np.linalg.svd(X / np.where(scale > 0, scale, 1.0), full_matrices=False)[2][-1]
        guilty = names[np.abs(direction) > 1e-6]
        text = f"the features {list(guilty)} depend on each other exactly"
    place = "" if error.cell is None else f" of class {error.cell[0]!r}, group {error.cell[1]!r}"
    return DataError(
        f"No normal law fits the rows{place}: {text}. Use fewer features (--features).",
        argument=error.argument,
        cell=error.cell,
    )


FIELDS = {
    "label": str,
    "sensitive": either(str, [str]),
    "features": [(str, [str], [str])],
}
SOLVED = {"solution": Mapping}
FITTED = {"of": frozenset(STEPS), "step": Mapping}
register(KIND, TableSteering._from_dict)
register(STEP, TableSteering._from_dict)
