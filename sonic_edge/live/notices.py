"""Chooses the text on the screen: by priority an event, the studio's state, a USB stick, the running job."""

import time
from typing import Dict, Optional, Tuple

from .display import words

EVENTS = ("no_face", "no_camera", "no_portrait", "snapshot_done", "failed")
"""Keys of texts about an event; shown for `EVENT_S`. The studio's other texts are about its present state."""
EVENT_S = 6.0
USB_GOES_ON = ("usb_reading", "usb_working", "usb_writing")
"""Keys of texts about a USB import in progress; shown for at most `USB_GOES_ON_S` unless another follows."""
USB_GOES_ON_S = 600.0
USB_ENDED = ("usb_done", "usb_none", "usb_failed")
"""Keys of texts about how an import ended; shown for `USB_ENDED_S`."""
USB_ENDED_S = 20.0


class Notices:
    """Chooses the text on the screen.

    Args:
        language: zh or en.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.job: Optional[Tuple[str, int]] = None
        """Name and percentage of the running job."""
        self.n_waiting = 0
        """Number of waiting jobs."""
        self.is_held = False
        """Whether no job is started because the disk is full."""
        self._studio = ""
        self._event: Tuple[str, Dict[str, object]] = ("", {})
        self._event_until = 0.0
        self._usb = ""
        self._usb_until = 0.0

    def studio(self, key: str) -> None:
        """Set the studio's text, by its key; empty for none."""
        if key in EVENTS:
            self.event(key)
            key = ""
        self._studio = key

    def event(self, key: str, seconds: float = EVENT_S, **values: object) -> None:
        """Show a text about an event for `seconds`; `values` fill in its placeholders."""
        self._event = (key, values)
        self._event_until = time.monotonic() + seconds

    def usb(self, key: str) -> None:
        """Set the text about a USB stick, by its key; see `USB_GOES_ON` and `USB_ENDED`."""
        self._usb = key if key in USB_GOES_ON else ""
        self._usb_until = time.monotonic() + USB_GOES_ON_S
        if key in USB_ENDED:
            self.event(key, USB_ENDED_S)

    def current(self) -> Tuple[str, Optional[float]]:
        """The text to show now, and the length of the progress bar, 0 to 1; None for no bar."""
        now = time.monotonic()
        if now < self._event_until:
            key, values = self._event
            return words(key, self.language, **values), None
        if self._studio:
            return words(self._studio, self.language), None
        share, making = self._of_job()
        if self._usb and now < self._usb_until:
            return words(self._usb, self.language), share
        return making, share

    def _of_job(self) -> Tuple[Optional[float], str]:
        """The running job's progress, 0 to 1, and its text; or None, and a text if the disk is full."""
        if self.job is None:
            return None, words("disk_full", self.language) if self.is_held and self.n_waiting else ""
        name, percent = self.job
        said = words("making", self.language, name=name, percent=percent)
        if self.n_waiting:
            said += "  " + words("job_waiting", self.language, n=self.n_waiting)
        return percent / 100, said
