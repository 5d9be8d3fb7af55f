"""The three kinds of failure, distinguished by what happens next.

Each message names the thing, its value and what was needed: ``greeting.wav: 0.1 s of speech; at least 0.3 s is
needed``. A library's errors are turned into one of these where the library is called.
"""


class SonicEdgeError(Exception):
    """An error that is shown to the user as a message, not as a traceback."""

    exit_code: int = 1


class ConfigError(SonicEdgeError):
    """The configuration, a control or the model bundle is wrong: nothing will work until a person changes it."""

    exit_code = 78  # EX_CONFIG of sysexits.h; the unit does not restart on it


class RequestError(SonicEdgeError):
    """This photo or this recording cannot be used; the next one can."""

    exit_code = 2


class DeviceError(SonicEdgeError):
    """Part of the machine failed (NPU, disk, microphone, camera, screen): worth trying again later."""

    exit_code = 1
