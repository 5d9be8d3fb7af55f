"""A model on the disk: what its bundle says, where bundles are kept, how it hears, and what runs it."""
