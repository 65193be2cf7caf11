"""The version of fairprog and of what it stands on."""

from __future__ import annotations

__version__ = "0.1.0"

_DEPENDENCIES = (
    "cvxpy",
    "clarabel",
    "scs",
    "highspy",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "matplotlib",
)


def show_versions() -> None:
    """Print the versions of fairprog, Python and the core dependencies, for bug reports.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.show_versions()  # doctest: +ELLIPSIS
    fairprog      0.1.0
    python        ...
    """
    for name, version in versions().items():
        print(f"{name:<13} {version}")


def versions() -> dict[str, str]:
    """Return the versions of fairprog, Python and the core dependencies by name."""
    import platform  # here, since every import of the package would wait for them
    from importlib import metadata

    found = {
        "fairprog": __version__,
        "python": f"{platform.python_version()} on {platform.system()}",
    }
    for name in _DEPENDENCIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
