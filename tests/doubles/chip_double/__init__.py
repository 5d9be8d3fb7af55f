"""What the doubles of `acl` and `mindspore_lite` share: their model files, the graph inside, faults on order.

Put tests/doubles on PYTHONPATH and `import acl` or `import mindspore_lite` gives a double of the vendor's module. It
keeps the documented signatures, types, return values and errors (each module names its sources), is stricter than the
real one where that would crash or go wrong in silence (`Misuse`), and computes with onnxruntime. It proves nothing
about a chip.
"""


class Misuse(AssertionError):
    """What the real library would answer with a crash or with nonsense: a use after free, a leak, a foreign handle."""
