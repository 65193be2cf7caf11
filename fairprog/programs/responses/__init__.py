"""How answers follow the populations they are answers for: derivatives by which errors spread."""
