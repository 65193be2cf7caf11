"""Rules on sorted scores: hulls, cuts, multipliers, channels."""
