"""The screen: one mpv process, driven through its JSON IPC; it shows the live stream, else a clip, else the idle scene.

mpv keeps the last picture until the next file's first one is there (``--keep-open=always``), so that nothing flashes
black in between. It is told from here what to show, asked now and then whether it still lives, and started again when
it does not. `screen` knows what is to be shown, `player` is the process, `words` is what it can say.
"""

from .screen import Screen, Stream
from .words import FONT_NAME, WORDS, words

__all__ = ["FONT_NAME", "WORDS", "Screen", "Stream", "words"]
