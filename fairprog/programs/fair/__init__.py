"""Programs whose population is decided among all, of any family: what they ask and answer."""
