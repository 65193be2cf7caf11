"""The same for independent features, without the matrices."""
