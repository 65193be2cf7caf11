"""Moments of cells, as they stream in, and how far to shrink them."""
