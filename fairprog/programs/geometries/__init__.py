"""How every family of populations answers the question of `NearestIdeal`."""
