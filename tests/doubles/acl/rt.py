"""`acl.rt`: devices, contexts, memory (pyACL's rt/rt_device.cpp, rt_context.cpp, rt_memory.cpp)."""

import ctypes
from typing import Optional, Tuple

from chip_double import Misuse

from ._state import (
    INVALID_PARAM,
    RT_CONTEXT_NULL,
    RT_DEVICE,
    RT_MEMORY,
    RT_PARAM,
    Block,
    alive,
    allocate,
    context,
    current,
    function,
    handle,
    only_code,
    settings,
    state,
    used_bytes,
    whole,
    zero_and_code,
)


def _is_device(device_id: int) -> bool:
    return 0 <= whole(device_id) < settings["n_devices"]


@function(only_code)
def set_device(device_id: int, /) -> int:
    """`ret = acl.rt.set_device(device_id)`: opens it, counted (rtSetDevice).

    The real one also gives this thread a context of its own; here only one that was made counts.
    """
    if not _is_device(device_id):
        return RT_DEVICE
    state.devices[device_id] += 1
    return 0


@function(only_code, gives_back=True)
def reset_device(device_id: int, /) -> int:
    """`ret = acl.rt.reset_device(device_id)`. Documented: contexts, models and memory must be given back before."""
    if not _is_device(device_id) or not state.devices[device_id]:
        return RT_DEVICE
    if state.devices[device_id] == 1 and (
        device_id in state.contexts.values() or state.models or any(b.is_device for b in state.blocks.values())
    ):
        raise Misuse(f"device {device_id} is reset while something is open on it")
    state.devices[device_id] -= 1
    return 0


@function(zero_and_code)
def create_context(device_id: int, /) -> Tuple[int, int]:
    """`context, ret = acl.rt.create_context(device_id)`: it becomes this thread's."""
    if not _is_device(device_id) or not state.devices[device_id]:
        return 0, RT_DEVICE
    made = handle()
    state.contexts[made] = device_id
    current.context = made
    return made, 0


@function(only_code, gives_back=True)
def destroy_context(one: int, /) -> int:
    """`ret = acl.rt.destroy_context(context)`."""
    if not alive(state.contexts, one, "context"):
        return INVALID_PARAM
    if any(m.context == one for m in state.models.values()):
        raise Misuse(f"context {one:#x} is destroyed with a model in it")
    state.gone[one] = state.contexts.pop(one)
    return 0


@function(only_code)
def set_context(one: int, /) -> int:
    """`ret = acl.rt.set_context(context)`: binds it to this thread."""
    if not alive(state.contexts, one, "context"):
        return INVALID_PARAM
    current.context = one
    return 0


@function(zero_and_code)
def get_run_mode() -> Tuple[int, int]:
    """`run_mode, ret = acl.rt.get_run_mode()`: 0 ACL_DEVICE, 1 ACL_HOST."""
    return (0, RT_CONTEXT_NULL) if context() is None else (settings["run_mode"], 0)


@function(zero_and_code, needs_context=True)
def malloc(size: int, policy: int, /) -> Tuple[int, int]:
    """`ptr, ret = acl.rt.malloc(size, policy)`, format "ki"; size over 0, policy 0 to 2 on the boards."""
    if whole(size) <= 0 or whole(policy) not in (0, 1, 2):
        return 0, INVALID_PARAM
    if used_bytes() + size > settings["memory_bytes"]:
        return 0, RT_MEMORY
    return allocate(size, is_device=True), 0


@function(only_code, needs_context=True, gives_back=True)
def free(address: int, /) -> int:
    """`ret = acl.rt.free(ptr)`, only what malloc gave."""
    return _free(address, is_device=True)


@function(zero_and_code, needs_context=True)
def malloc_host(size: int, /) -> Tuple[int, int]:
    """`ptr, ret = acl.rt.malloc_host(size)`; size over 0. On the chip's own CPUs it is ordinary pages of the chip."""
    return (allocate(size, is_device=False), 0) if whole(size) > 0 else (0, INVALID_PARAM)


@function(only_code, needs_context=True, gives_back=True)
def free_host(address: int, /) -> int:
    """`ret = acl.rt.free_host(ptr)`, only what malloc_host gave."""
    return _free(address, is_device=False)


def _free(address: int, is_device: bool) -> int:
    if not alive(state.blocks, address, "memory"):
        return INVALID_PARAM
    if state.blocks[address].is_device != is_device:
        return RT_PARAM
    block = state.blocks.pop(address)
    ctypes.memset(address, 0xFF, block.size)  # what still reads it finds no numbers
    state.gone[address] = block
    return 0


@function(only_code, needs_context=True)
def memcpy(dst: int, dest_max: int, src: int, count: int, kind: int, /) -> int:
    """`ret = acl.rt.memcpy(dst, dest_max, src, count, kind)`, format "kkkki".

    `kind` is "reserved" in newer documents; the samples for the boards give DEVICE_TO_DEVICE where the program runs on
    the chip (python/common/acllite/acllite_model.py), and that is asked for here.
    """
    to, of = _block(dst), _block(src)
    if to is None or of is None or not 0 < whole(count) <= whole(dest_max) or dest_max > to.size or count > of.size:
        return RT_PARAM
    wanted = 3 if settings["run_mode"] == 0 else 2 * of.is_device + to.is_device
    if whole(kind) != wanted:
        return RT_PARAM
    ctypes.memmove(dst, src, count)
    return 0


def _block(address: int) -> Optional[Block]:
    if whole(address) in state.gone:
        raise Misuse(f"memory {address:#x} is used after it was freed")
    return state.blocks.get(address)
