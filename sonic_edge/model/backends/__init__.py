"""What runs a model: one protocol, one module for each runtime."""
