"""The door to what is said about a result: which function says it, by name.

Words, tables and figures of a result are made from it, so they lie below; results offer them as
methods (``.summary()``, ``.to_html()``, ...), which find the function here.
"""

from importlib import import_module
from typing import Any

HOMES = {  # function: the module that defines it
    "score_summary": "fairprog.evidence.score_summary",
    "summary_text": "fairprog.evidence.summary",
    "fair_summary": "fairprog.evidence.fair_words",
    "evidence_of_rows": "fairprog.evidence.rows",
    "comparison_summary": "fairprog.comparison.comparison_words",
    "best_words": "fairprog.comparison.comparison_words",
    "audit_summary": "fairprog.audits.audit_words",
    "inference_of": "fairprog.programs.inference",
    "drift_of_rows": "fairprog.evidence.drift",
    "verdict_words": "fairprog.audits.audit_words",
}


def finding(name: str) -> Any:
    """Return the function of that name."""
    return getattr(import_module(HOMES[name]), name)
