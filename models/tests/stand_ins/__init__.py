"""Stand-ins for Ascend's tools: they take what is documented, nothing else, look at what they get, fail as documented.

What they leave carries the model, so that what comes out at the end of the road can be run. They compile nothing.
"""
