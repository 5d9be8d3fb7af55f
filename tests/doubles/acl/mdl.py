"""`acl.mdl`: models (pyACL's mdl/mdl_wrap.cpp; api/acl/acl_model/model/model.cpp of github hicann/ge ffdcbc9)."""

import ctypes
import itertools
from typing import Any, Dict, List, Tuple

import numpy as np
from chip_double import file
from chip_double.graph import Graph, Tensor

from ._state import (
    GE_DATA_SIZE,
    GE_MODEL_ID,
    GE_PATH,
    INVALID_PARAM,
    RT_MEMORY,
    RT_MODEL_CONTEXT,
    RT_SOC,
    Model,
    alive,
    context,
    function,
    handle,
    nothing,
    only_code,
    settings,
    state,
    text,
    used_bytes,
    whole,
    zero_and_code,
)

_ids = itertools.count(1)
_TYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3, "uint8": 4}


@function(zero_and_code, needs_context=True)
def load_from_file(path: str, /) -> Tuple[int, int]:
    """`model_id, ret = acl.mdl.load_from_file(model_path)`, format "s".

    What CANN answers to an `.om` for another chip is not documented; 507008 is "soc version error".
    """
    try:
        description, onnx = file.read(text(path), file.OM)
        graph = Graph(description, onnx)
    except OSError:
        return 0, GE_PATH
    except ValueError:
        return 0, GE_DATA_SIZE
    if description.soc not in ("", settings["soc"]):
        return 0, RT_SOC
    if used_bytes() + graph.n_bytes > settings["memory_bytes"]:
        return 0, RT_MEMORY
    now = context()
    assert now is not None
    made = next(_ids)
    state.models[made] = Model(graph, now)
    return made, 0


@function(only_code, needs_context=True, gives_back=True)
def unload(model_id: int, /) -> int:
    """`ret = acl.mdl.unload(model_id)`, in the context it was loaded in."""
    if whole(model_id) not in state.models:
        return GE_MODEL_ID
    if state.models[model_id].context != context():
        return RT_MODEL_CONTEXT
    del state.models[model_id]
    return 0


@function(nothing)
def create_desc() -> int:
    """`desc = acl.mdl.create_desc()`; 0 if it fails."""
    made = handle()
    state.descs[made] = None
    return made


@function(only_code)
def get_desc(desc: int, model_id: int, /) -> int:
    """`ret = acl.mdl.get_desc(desc, model_id)`, format "kI"."""
    if not alive(state.descs, desc, "desc"):
        return INVALID_PARAM
    if whole(model_id) not in state.models:
        return GE_MODEL_ID
    state.descs[desc] = state.models[model_id].graph
    return 0


@function(only_code, gives_back=True)
def destroy_desc(desc: int, /) -> int:
    """`ret = acl.mdl.destroy_desc(desc)`."""
    if not alive(state.descs, desc, "desc"):
        return INVALID_PARAM
    state.gone[desc] = state.descs.pop(desc)
    return 0


def _of(desc: int, kind: str) -> List[Tensor]:
    """What a desc says of one side; nothing before get_desc."""
    graph = state.descs[desc] if alive(state.descs, desc, "desc") else None
    return getattr(graph, kind) if graph is not None else []


def _size(desc: int, index: int, kind: str) -> int:
    tensors = _of(desc, kind)
    return tensors[index].n_bytes if 0 <= whole(index) < len(tensors) else 0


def _dims(desc: int, index: int, kind: str) -> Tuple[Dict[str, Any], int]:
    """With a code other than 0 the dict is empty (WrapAclMdlGetInputDims)."""
    tensors = _of(desc, kind)
    if not 0 <= whole(index) < len(tensors):
        return {}, INVALID_PARAM
    t = tensors[index]
    return {"name": t.name, "dimCount": len(t.shape), "dims": list(t.shape)}, 0


def _type(desc: int, index: int, kind: str) -> int:
    tensors = _of(desc, kind)
    return _TYPES[tensors[index].dtype] if 0 <= whole(index) < len(tensors) else -1  # ACL_DT_UNDEFINED


def _name(desc: int, index: int, kind: str) -> str:
    tensors = _of(desc, kind)
    return tensors[index].name if 0 <= whole(index) < len(tensors) else ""


@function(nothing)
def get_num_inputs(desc: int, /) -> int:
    """`n = acl.mdl.get_num_inputs(desc)`."""
    return len(_of(desc, "inputs"))


@function(nothing)
def get_num_outputs(desc: int, /) -> int:
    """`n = acl.mdl.get_num_outputs(desc)`."""
    return len(_of(desc, "outputs"))


@function(nothing)
def get_input_size_by_index(desc: int, index: int, /) -> int:
    """`n_bytes = acl.mdl.get_input_size_by_index(desc, index)`; 0 if there is none."""
    return _size(desc, index, "inputs")


@function(nothing)
def get_output_size_by_index(desc: int, index: int, /) -> int:
    """`n_bytes = acl.mdl.get_output_size_by_index(desc, index)`; 0 if there is none."""
    return _size(desc, index, "outputs")


@function(lambda code: ({}, code))
def get_input_dims(desc: int, index: int, /) -> Tuple[Dict[str, Any], int]:
    """`{"name", "dimCount", "dims"}, ret = acl.mdl.get_input_dims(desc, index)`."""
    return _dims(desc, index, "inputs")


@function(lambda code: ({}, code))
def get_output_dims(desc: int, index: int, /) -> Tuple[Dict[str, Any], int]:
    """`{"name", "dimCount", "dims"}, ret = acl.mdl.get_output_dims(desc, index)`."""
    return _dims(desc, index, "outputs")


@function(lambda _: -1)
def get_input_data_type(desc: int, index: int, /) -> int:
    """`aclDataType = acl.mdl.get_input_data_type(desc, index)`; -1 if there is none."""
    return _type(desc, index, "inputs")


@function(lambda _: -1)
def get_output_data_type(desc: int, index: int, /) -> int:
    """`aclDataType = acl.mdl.get_output_data_type(desc, index)`; -1 if there is none."""
    return _type(desc, index, "outputs")


@function(lambda _: "")
def get_input_name_by_index(desc: int, index: int, /) -> str:
    """`name = acl.mdl.get_input_name_by_index(desc, index)`; empty if there is none."""
    return _name(desc, index, "inputs")


@function(lambda _: "")
def get_output_name_by_index(desc: int, index: int, /) -> str:
    """`name = acl.mdl.get_output_name_by_index(desc, index)`; empty if there is none."""
    return _name(desc, index, "outputs")


@function(nothing)
def create_dataset() -> int:
    """`dataset = acl.mdl.create_dataset()`; 0 if it fails."""
    made = handle()
    state.datasets[made] = []
    return made


@function(zero_and_code)
def add_dataset_buffer(dataset: int, buffer: int, /) -> Tuple[int, int]:
    """`dataset, ret = acl.mdl.add_dataset_buffer(dataset, buffer)`."""
    if not (alive(state.datasets, dataset, "dataset") and alive(state.buffers, buffer, "data buffer")):
        return 0, INVALID_PARAM
    state.datasets[dataset].append(buffer)
    return dataset, 0


@function(only_code, gives_back=True)
def destroy_dataset(dataset: int, /) -> int:
    """`ret = acl.mdl.destroy_dataset(dataset)`; its data buffers stay."""
    if not alive(state.datasets, dataset, "dataset"):
        return INVALID_PARAM
    state.gone[dataset] = state.datasets.pop(dataset)
    return 0


@function(only_code, needs_context=True)
def execute(model_id: int, given: int, made: int, /) -> int:
    """`ret = acl.mdl.execute(model_id, input, output)`, format "Ikk", in the context the model was loaded in."""
    if whole(model_id) not in state.models:
        return GE_MODEL_ID
    model = state.models[model_id]
    if model.context != context():
        return RT_MODEL_CONTEXT
    sides = []
    for dataset, tensors in ((given, model.graph.inputs), (made, model.graph.outputs)):
        if not alive(state.datasets, dataset, "dataset"):
            return INVALID_PARAM
        buffers = state.datasets[dataset]
        if len(buffers) != len(tensors):
            return INVALID_PARAM
        arrays = []
        for buffer, tensor in zip(buffers, tensors):
            alive(state.buffers, buffer, "data buffer")
            address, size = state.buffers[buffer]
            if not alive(state.blocks, address, "memory") or not state.blocks[address].is_device:
                return INVALID_PARAM
            if size < tensor.n_bytes or size > state.blocks[address].size:
                return GE_DATA_SIZE
            memory = (ctypes.c_char * tensor.n_bytes).from_address(address)
            arrays.append(np.frombuffer(memory, np.float32).reshape(tensor.shape))
        sides.append(arrays)
    for into, result in zip(sides[1], model.graph.run([a.copy() for a in sides[0]])):
        into[...] = result
    return 0
