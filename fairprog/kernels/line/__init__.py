"""One feature: regions, quadrature, scales and shifts, polynomials, piecewise-linear maps."""
