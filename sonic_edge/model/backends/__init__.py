"""Backends that run a model: one protocol, one module for each runtime."""
