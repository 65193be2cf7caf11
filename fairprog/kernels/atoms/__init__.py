"""Finitely many atoms: Bayes rules, pools, prices of levels, tilts."""
