"""Linear algebra: one BLAS, its threads, null directions, cones."""
