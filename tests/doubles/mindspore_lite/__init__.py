"""A double of MindSpore Lite's Python API; see `chip_double` for what it is.

Source: github mindspore-ai/mindspore-lite 2b28870 (of 2.7), mindspore-lite/python/api/, and python/src/ beneath it.
"""

from .context import Context
from .model import Model, ModelType, alive, settings
from .tensor import DataType, Format, Tensor, TensorMeta

__version__ = "2.7.0"
__all__ = ["Context", "DataType", "Format", "Model", "ModelType", "Tensor", "TensorMeta", "alive", "settings"]
