"""The three ways a thing can go wrong, told apart by what happens next.

Each message says which thing, its value and what was needed: ``greeting.wav: 0.1 s of speech; at least 0.3 s is
needed``. Errors of libraries are turned into one of these, once, where the library is called.
"""


class SonicEdgeError(Exception):
    """Anything Sonic Edge says in words instead of a traceback."""

    exit_code: int = 1


class ConfigError(SonicEdgeError):
    """The configuration, a control or the model bundle is wrong: nothing will work until a person changes it."""

    exit_code = 78  # EX_CONFIG of sysexits.h; the unit does not restart on it


class RequestError(SonicEdgeError):
    """This photo or this recording cannot be used; the next one can."""

    exit_code = 2


class DeviceError(SonicEdgeError):
    """A part of the machine failed (NPU, disk, microphone, camera, screen): worth trying again later."""

    exit_code = 1
