"""python/api/tensor.py and python/src/tensor_pybind.cc: tensors, which share memory rather than copy it."""

from enum import Enum
from typing import List, Optional

import numpy as np

from ._call import function


class DataType(Enum):
    """The types there are."""

    UNKNOWN = 0
    BOOL = 30
    INT8 = 32
    INT16 = 33
    INT32 = 34
    INT64 = 35
    UINT8 = 37
    UINT16 = 38
    UINT32 = 39
    UINT64 = 40
    FLOAT16 = 42
    FLOAT32 = 43
    FLOAT64 = 44
    INVALID = 2147483647


class Format(Enum):
    """Of the twenty the two that our models have."""

    DEFAULT = -1
    NCHW = 0


OF_NUMPY = {np.dtype(t.name.lower()): t for t in DataType if t.value in range(32, 45)}


class TensorMeta:
    """An output as returned by `Model.get_outputs`."""

    def __init__(self) -> None:
        self.name = ""
        self.dtype = DataType.UNKNOWN
        self.shape: List[int] = []
        self.format = Format.DEFAULT
        self.element_num = 0
        self.data_size = 0


class Tensor:
    """A model's input or result; only the model makes them here (`_make`)."""

    def __init__(self, tensor: None = None) -> None:
        if tensor is not None:
            raise TypeError(f"tensor must be MindSpore Lite's Tensor._tensor or numpy ndarray, but got {type(tensor)}.")
        self._name, self._shape, self._dtype = "", [], DataType.FLOAT32
        self._data: Optional[np.ndarray] = None

    @classmethod
    def _make(cls, name: str, shape: List[int], dtype: DataType, data: Optional[np.ndarray] = None) -> "Tensor":
        made = cls()
        made._name, made._shape, made._dtype, made._data = name, shape, dtype, data
        return made

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> List[int]:
        return list(self._shape)

    @property
    def dtype(self) -> DataType:
        return self._dtype

    @property
    def format(self) -> Format:
        return Format.NCHW

    @property
    def element_num(self) -> int:
        return int(np.prod(self._shape))

    @property
    def data_size(self) -> int:
        return self.element_num * np.dtype(self._dtype.name.lower()).itemsize

    @function
    def set_data_from_numpy(self, numpy_obj: np.ndarray) -> None:
        """Takes the array itself, no copy; its shape does not matter, only its type and how many bytes it has.

        As in the real one, an array that is contiguous only in Fortran order changes nothing, without an error: Python
        looks at `flags["FORC"]` and passes it on, and SetTensorNumpyData returns false, which nobody reads.
        """
        if not isinstance(numpy_obj, np.ndarray):
            raise TypeError(f"numpy_obj must be numpy.ndarray, but got {type(numpy_obj)}.")
        if not numpy_obj.flags["FORC"]:
            numpy_obj = np.ascontiguousarray(numpy_obj)
        if numpy_obj.dtype not in OF_NUMPY:
            raise TypeError(f"Unsupported numpy dtype value {numpy_obj.dtype}")
        if OF_NUMPY[numpy_obj.dtype] != self.dtype:
            raise RuntimeError(f"data type not equal! Numpy type: {numpy_obj.dtype.type}, Tensor type: {self.dtype}")
        if numpy_obj.nbytes != self.data_size:
            raise RuntimeError(f"data size not equal! Numpy size: {numpy_obj.nbytes}, Tensor size: {self.data_size}")
        if numpy_obj.flags["C_CONTIGUOUS"]:
            self._data = numpy_obj

    @function
    def get_data_to_numpy(self) -> np.ndarray:
        """A view of the tensor's own memory."""
        if self._data is None:
            return np.empty(0)
        return self._data.reshape(self._shape)[...]
