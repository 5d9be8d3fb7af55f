"""What the machine says of itself: memory, temperature, clock, the Ascend chip."""
