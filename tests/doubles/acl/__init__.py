"""A double of pyACL; see `acl._state` for the sources and `chip_double` for what it is."""

from typing import Optional

from ._state import (
    INVALID_PARAM,
    REPEAT_FINALIZE,
    REPEAT_INITIALIZE,
    alive,
    function,
    handle,
    nothing,
    only_code,
    state,
    text,
    whole,
)

__all__ = ["create_data_buffer", "destroy_data_buffer", "finalize", "get_recent_err_msg", "init", "mdl", "rt"]


@function(only_code)
def init(*config: str) -> int:
    """`ret = acl.init(config_path)`, format "|s" (acl/acl.cpp WrapAclInit).

    A second one gives 100002 (aclInitImpl in src/acl/aclrt_impl/acl.cpp). After `finalize` the documentation promises
    nothing, so it fails.
    """
    if len(config) > 1:
        raise TypeError(f"function takes at most 1 argument ({len(config)} given)")
    for one in config:
        text(one)
    if state.n_init:
        return REPEAT_INITIALIZE
    if state.was_finalized:
        return 500001
    state.n_init = 1
    return 0


@function(only_code)
def finalize() -> int:
    """`ret = acl.finalize()`; 100037 if there is nothing to end."""
    if not state.n_init:
        return REPEAT_FINALIZE
    state.n_init, state.was_finalized = 0, True
    return 0


@function(nothing)
def create_data_buffer(data: int, size: int, /) -> int:
    """`buffer = acl.create_data_buffer(data, size)`, format "kk"; 0 if it fails (aclCreateDataBufferImpl: new)."""
    made = handle()
    state.buffers[made] = (whole(data), whole(size))
    return made


@function(only_code, gives_back=True)
def destroy_data_buffer(buffer: int, /) -> int:
    """`ret = acl.destroy_data_buffer(buffer)`; the memory it points to is not freed (data_buffer.cpp)."""
    if not alive(state.buffers, buffer, "data buffer"):
        return INVALID_PARAM
    state.gone[buffer] = state.buffers.pop(buffer)
    return 0


def get_recent_err_msg() -> Optional[str]:
    """`message = acl.get_recent_err_msg()`; None if there is none; telling it clears it. Not in the oldest CANN."""
    message = "\n".join(state.recent)
    state.recent.clear()
    return message or None


from . import mdl, rt  # noqa: E402  (they need what is above)
