"""The microphone and the loudspeaker, which may be unplugged and reconnected without restarting anything else."""

import contextlib
import logging
import time
from dataclasses import replace
from typing import Optional

from ...config import MicrophoneSettings, SpeakerSettings
from ...errors import DeviceError
from ...media import SoundBlock
from ..capture import Microphone, Speaker
from ..state import MicrophoneState, SpeakerState

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S, LONGEST_MUTE_S = 0.5, 10.0, 60.0
"""The back-off between attempts to open a device: it doubles from the first up to the second; for the loudspeaker up to
the third."""


class _Patience:
    """The back-off for opening a device."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._wait_s = FIRST_WAIT_S
        self._at = 0.0

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._at

    def failed(self) -> None:
        self._at = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._longest_s)

    def worked(self) -> None:
        self._wait_s = FIRST_WAIT_S


class ReconnectingMicrophone:
    """The microphone. `hear` opens it, and reopens it after a failure.

    Args:
        settings: Which device, and how to read it.
    """

    def __init__(self, settings: MicrophoneSettings) -> None:
        self._settings = settings
        self._microphone: Optional[Microphone] = None
        self._patience = _Patience(LONGEST_WAIT_S)
        self._n_lost = 0
        self._n_overruns = 0
        self._log_at = 1  # overruns; doubled each time, so that the log does not fill

    @property
    def is_open(self) -> bool:
        """Whether the device is open."""
        return self._microphone is not None

    def hear(self, timeout_s: float) -> Optional[SoundBlock]:
        """The next block of sound; None if none arrived in time, or if it is too early to try to reopen the device.

        Raises:
            DeviceError: If the device cannot be opened or was lost. Later calls retry, with back-off.
        """
        if self._microphone is None:
            if not self._patience.is_over:
                return None
            try:
                self._microphone = Microphone(self._settings)
            except DeviceError:
                self._patience.failed()
                raise
        try:
            heard = self._microphone.read(timeout_s)
        except DeviceError:
            self._n_lost += 1
            self._patience.failed()
            self.close()
            raise
        if heard is not None:
            self._patience.worked()
        n_overruns = self._n_overruns + self._microphone.n_overruns
        if n_overruns >= self._log_at:
            log.warning("microphone: sound was lost %d times so far; the machine is too slow or too busy", n_overruns)
            self._log_at = 2 * n_overruns
        return heard

    def close(self) -> None:
        """Close the device, so that nothing is recorded."""
        if self._microphone is not None:
            self._n_overruns += self._microphone.n_overruns
            with contextlib.suppress(DeviceError):
                self._microphone.close()
            self._microphone = None

    @property
    def state(self) -> MicrophoneState:
        """For `status`."""
        if self._microphone is None:
            return MicrophoneState(overruns=self._n_overruns, lost=self._n_lost)
        n_overruns = self._n_overruns + self._microphone.n_overruns
        return MicrophoneState(True, self._microphone.name, n_overruns, self._n_lost)


class ReconnectingSpeaker:
    """The loudspeaker. It is reopened after a failure; without it the portrait continues in silence.

    Args:
        settings: Which device, and how to use it; device null: none.
        delay_s: From the microphone to the loudspeaker, seconds.
    """

    def __init__(self, settings: SpeakerSettings, delay_s: float) -> None:
        self._settings = settings
        self._delay_s = delay_s
        self._speaker: Optional[Speaker] = None
        self._patience = _Patience(LONGEST_MUTE_S)
        self._error = ""

    def hear(self, heard: SoundBlock) -> None:
        """Play a block of sound `delay_s` after it was recorded."""
        if self._settings.device is None:
            return
        try:
            if self._speaker is None:
                if not self._patience.is_over:
                    return
                self._speaker = Speaker(self._settings, delay_s=self._delay_s)
            self._speaker.check()
            self._speaker.hear(heard)
        except DeviceError as e:
            if self._error != str(e):
                log.error("%s; trying again", e)
            self._error = str(e)
            self._patience.failed()
            self.close()
        else:
            if self._error:
                log.info("the loudspeaker works again")
            self._error = ""
            self._patience.worked()

    @property
    def needs_look(self) -> bool:
        """Whether to retry now. PortAudio finds new devices only while none is open, so close the microphone first."""
        return bool(self._error) and self._speaker is None and self._patience.is_over

    def close(self) -> None:
        """Close the device."""
        if self._speaker is not None:
            with contextlib.suppress(DeviceError):
                self._speaker.close()
            self._speaker = None

    @property
    def state(self) -> SpeakerState:
        """For `status`."""
        if self._speaker is None:
            return SpeakerState(error=self._error)
        return replace(self._speaker.state, error=self._error)
