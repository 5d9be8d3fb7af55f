"""Readings of the machine: memory, temperature, clock, the Ascend chip."""
