"""Stand-ins for Ascend's tools: they accept only what is documented, check their input, and fail as documented.

Their output files contain the model, so that the result of a conversion can be run. They compile nothing.
"""
