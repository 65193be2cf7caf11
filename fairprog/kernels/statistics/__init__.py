"""What rows say: bands, intervals, sample sizes, ranks, quantiles, effects."""
