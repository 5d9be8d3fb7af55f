"""An ONNX file as protobuf messages, with as much of ONNX's schema as the CPU backend needs.

The schema is onnx.proto of github onnx/onnx; protobuf preserves fields that are not listed here. The library `onnx`,
which has the full schema, would be among the largest on the box.
"""

from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

_SCHEMA: Dict[str, List[Tuple[str, int, str]]] = {
    "Model": [("graph", 7, "Graph")],
    "Graph": [
        ("node", 1, "Node*"),
        ("initializer", 5, "Tensor*"),
        ("input", 11, "Value*"),
        ("output", 12, "Value*"),
        ("value_info", 13, "Value*"),
    ],
    "Node": [
        ("input", 1, "*"),
        ("output", 2, "*"),
        ("name", 3, ""),
        ("op_type", 4, ""),
        ("attribute", 5, "Attribute*"),
        ("domain", 7, ""),
    ],
    "Attribute": [
        ("name", 1, ""),
        ("i", 3, "number"),
        ("t", 5, "Tensor"),
        ("g", 6, "Graph"),
        ("graphs", 11, "Graph*"),
    ],
    "Tensor": [
        ("dims", 1, "number*"),
        ("data_type", 2, "number"),
        ("float_data", 4, "float*"),
        ("int32_data", 5, "int32*"),
        ("name", 8, ""),
        ("raw_data", 9, "bytes"),
        ("data_location", 14, "number"),
    ],
    "Value": [("name", 1, ""), ("type", 2, "Type")],
    "Type": [("tensor_type", 1, "TensorType")],
    "TensorType": [("elem_type", 1, "number"), ("shape", 2, "Shape")],
    "Shape": [("dim", 1, "Dim*")],
    "Dim": [("dim_value", 1, "number")],
}
"""Message -> its fields: name, number, type (empty: text; *: any number of them)."""
_PLAIN = {
    "": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "number": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}


def _model_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sonic_edge/onnx.proto", package="sonic_edge", syntax="proto2")
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in _SCHEMA:
                described.field.add(
                    name=name, number=number, label=label, type=field.TYPE_MESSAGE, type_name=f".sonic_edge.{kind}"
                )
            else:
                described.field.add(name=name, number=number, label=label, type=_PLAIN[kind])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sonic_edge.Model"))


Model = _model_class()
"""The message ModelProto."""
FLOAT, INT8, INT32 = 1, 3, 6
TYPES = {"tensor(float)": FLOAT, "tensor(uint8)": 2, "tensor(int8)": INT8}
"""Tensor types: onnxruntime's name -> ONNX's number."""
_NUMPY: Dict[int, "np.dtype[Any]"] = {FLOAT: np.dtype("<f4"), INT8: np.dtype("i1"), INT32: np.dtype("<i4")}


def read_model(content: bytes) -> Any:
    """Parse the content of an ONNX file.

    Raises:
        ValueError: If it is not an ONNX model.
    """
    try:
        return Model.FromString(content)
    except Exception as e:  # protobuf's implementations raise different classes
        raise ValueError(f"not an ONNX model: {e}") from e


def constants(graph: Any) -> Dict[str, Any]:
    """Name -> tensor message of the constants that are stored in this file."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return {name: tensor for name, tensor in found.items() if not tensor.data_location}


def to_array(tensor: Any) -> Optional[NDArray[Any]]:
    """A tensor's values; None if they are of a type that is not needed here."""
    dtype = _NUMPY.get(tensor.data_type)
    if dtype is None:
        return None
    if tensor.raw_data:
        flat = np.frombuffer(tensor.raw_data, dtype)
    else:
        flat = np.array(tensor.float_data if tensor.data_type == FLOAT else tensor.int32_data, dtype)
    return np.asarray(flat.reshape(tuple(tensor.dims)))


def add_constant(graph: Any, name: str, array: NDArray[Any]) -> str:
    """Add a constant to a graph; returns its name."""
    data_type = next(number for number, dtype in _NUMPY.items() if dtype == array.dtype)
    graph.initializer.add(name=name, dims=array.shape, data_type=data_type, raw_data=array.tobytes())
    return name
