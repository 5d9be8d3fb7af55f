"""The screen: one mpv process, controlled over JSON IPC; it shows the live stream, else a clip, else the idle scene.

mpv keeps the last picture until the next file's first one is ready (``--keep-open=always``), so that the screen never
flashes black in between. mpv is pinged regularly, and restarted if it does not answer. `screen` decides what is shown,
`player` is the process, `words` holds the texts.
"""

from .screen import Screen, Stream
from .words import FONT_NAME, WORDS, words

__all__ = ["FONT_NAME", "WORDS", "Screen", "Stream", "words"]
