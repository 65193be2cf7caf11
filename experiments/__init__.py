"""The experiments behind the tables and figures: ``fairprog reproduce`` runs them."""
