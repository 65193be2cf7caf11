"""Files of steps that version 0.1.0 wrote: their fields as they are called now."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from fairprog.estimators.lattice import over_cells
from fairprog.estimators.score_columns import backward
from fairprog.fields import array, either, increasing, labels, read, refuse
from fairprog.populations import population_from_dict
from fairprog.transports import PiecewiseLinearMap

STEP = {
    "params": Mapping,
    "classes": labels,
    "groups": labels,
    "solution": either(None, Mapping),
}
FIELDS = {
    "ideal_steering": STEP
    | {
        "feature_names": [str],
        "population": either(None, Mapping),
        "n_features": int,
        "sample_weight": array(None),
        "lattices": tuple,
    },
    "score_steering": STEP
    | {
        "maps": Mapping,
        "lattices": {Hashable: increasing},
        "common_lattice": either(None, increasing),
    },
}


def of_now(kind: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a step's file as they are called now.

    Raises
    ------
    DataError
        Where it is of version 0.1.0 and a field is of another kind.
    """
    fields = FIELDS.get(kind)
    if fields is None or set(data) != set(fields):
        return data
    data = read(data, kind, fields)
    return ideal_steering(data) if kind == "ideal_steering" else score_steering(data)


def ideal_steering(data: dict[str, Any]) -> dict[str, Any]:
    """Lattices were rounded to after an affine map, and columns had no order of their own."""
    d, lattices = data.pop("n_features"), data.pop("lattices")
    D = None if data["population"] is None else population_from_dict(data["population"])
    return data | {
        "n_features_in_": d,
        "sample_weight_": data.pop("sample_weight"),
        "_lattices": list(lattices),
        "_mass": np.ones(1) if D is None else D.group_mass,
        "_order": None,
        "ties": [{} for _ in range(d)],
        "whole": np.zeros(d),
        "moving": np.ones(d),
        "_shared": False,
    }


def score_steering(data: dict[str, Any]) -> dict[str, Any]:
    """Tied scores were kept where maps act; no group's mass was."""
    tied, common = data.pop("lattices"), data.pop("common_lattice")
    G, space = len(data["groups"]), data["params"].get("space", "logit")
    if common is not None:
        maps = {g: PiecewiseLinearMap.from_dict(T) for g, T in data["maps"].items()}
        if maps.keys() != tied.keys() or any(v.size < 2 for v in (common, *tied.values())):
            raise refuse("`lattices` are not of the groups that have maps")
        data["maps"] = {
            g: over_cells(T, backward(tied[g], space), backward(common, space), space).to_dict()
            for g, T in maps.items()
        }
    return data | {"n_features_in_": 1, "_mass": np.full(G, 1.0 / G), "_shared": False}
