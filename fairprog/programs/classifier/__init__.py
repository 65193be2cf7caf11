"""Programs whose population is fixed and whose classifier is decided."""
