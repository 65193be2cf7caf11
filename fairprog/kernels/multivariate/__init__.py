"""One group's law in many dimensions, full covariances: maps, divergences, searches, bounds."""
