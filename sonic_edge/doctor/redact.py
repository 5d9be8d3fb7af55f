"""Removes names from text: those of people, their files and folders.

Any word may be a name, so this keeps a list of allowed words instead of searching for names: words of the program's own
source, of common error messages, and numbers. Every other word becomes ``~`` and six hex digits, the same ones for the
same word on one box.
"""

import builtins
import errno
import hashlib
import hmac
import importlib.metadata
import os
import platform
import re
import secrets
import signal
from pathlib import Path
from typing import Any, FrozenSet, Iterable

from ..spool.job import CONTROLS, PHOTOS, RECORDINGS

_SUFFIXES = RECORDINGS | PHOTOS | CONTROLS | {".mp4", ".json", ".inputs"}
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d{1,7}([a-zA-Z]{1,2}|x\d{1,5}|T\d\d)?|0x[0-9a-fA-F]{1,4}|(hw|card|video|mmcblk|sd[a-z])\d{0,2}")
_LONGEST_NUMBER = 7  # a longer one may be a telephone or identity number

_COMMON = """
able abort aborted aborting accepted access address allocate allowed already alsa and another any argument at attempt
audio available avformat bad be because been before begin bin boot broken buffer bug bus but by call called can cannot
card channel channels child client closed code codec config configuration connect connected connecting connection
console context control core corrupt could couldn create creating ctl data dead decode decoder decoding default
delivered demuxer denied detected dev device did died dimensions directory disabled disconnected display dist does
doesn done driver drm dropped dump early egl empty enabled encoder end ended entry eof error errors etc exceeded
exception exist exists exit exited expected expired fail failed failure fatal ffmpeg file files find for format found
frame from full get given got gpu group had handle hardware has header home host idle illegal in info init initialise
initialize initializing input instance insufficient interface internal interrupted invalid io is it item jack job
journal kernel key killed known lavf layout level lib lib64 library limit line lines link list load loaded loading
lock log lost main master match max maximum media memory message min missing mnt mode module mount mpv must name
negative network no node non none not nothing null number of off old on only open opened opening operation opt option
options or out output over overrun packages packet parameter parse parsing path pcm period permission pipe platform
playback player plugin pointer poll port possible power present proc process processing profile property protocol
pulse python python3 queue rate read reading ready received recording refused register released remote remove removed
request require required reset resource restart result retry return returned root run running sample samples
segmentation select send sent server service session set setting shared short signal site size sleep slow small snd
socket software some sound source srv stack start started state status stop stopped storage stream string suspend
symbol sys system temporarily terminated test than that the then there this thread time timed timeout tmp to too track
truncated try trying tty type unable undefined underrun unexpected unit unknown unsupported until up update usb use
used user using usr v4l2 value var version via video vo vt wait waiting warning was when while will window with
without work worker write wrong xrun
"""


class Redactor:
    """Removes names from text.

    Args:
        names: Known names, removed even if they consist of allowed words.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._key = _box_key()
        self._words = allowed_words()
        stems = {stem for stem in map(_stem, names) if len(stem.encode(errors="replace")) > 1}  # "a" is not a name
        longest_first = sorted(stems, key=lambda s: (-len(s), s))
        self._names = re.compile(
            "|".join(rf"(?<!\w){re.escape(s)}(?!\w)" for s in longest_first) or r"(?!)", re.IGNORECASE
        )

    def text(self, text: str) -> str:
        """The text without names."""
        parts, end = [], 0
        for match in self._names.finditer(text):
            parts += [self._other_words(text[end : match.start()]), self.name(match[0])]
            end = match.end()
        return "".join([*parts, self._other_words(text[end:])])

    def known(self, text: str) -> str:
        """The text without the known names only; for text that people did not write."""
        return self._names.sub(lambda match: self.name(match[0]), text)

    def tree(self, data: Any) -> Any:
        """JSON data without names, in every string and key."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, dict):
            return {self.text(str(key)): self.tree(value) for key, value in data.items()}
        if isinstance(data, (list, tuple)):
            return [self.tree(value) for value in data]
        if isinstance(data, int) and not isinstance(data, bool) and len(str(abs(data))) > 2 * _LONGEST_NUMBER:
            return self.text(str(data))
        return data

    def name(self, name: str) -> str:
        """The substitute for a name; without the box's key, the name cannot be recovered from it."""
        digest = hmac.new(self._key, name.casefold().encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
        return f"~{digest[:6]}"

    def _other_words(self, text: str) -> str:
        return _WORD.sub(lambda m: m[0] if self._is_allowed(m[0]) else self.name(m[0]), text)

    def _is_allowed(self, word: str) -> bool:
        if word.isdigit():
            return len(word) <= _LONGEST_NUMBER
        if _NUMBER.fullmatch(word) is not None:
            return True
        parts = [part for part in word.lower().split("_") if part]
        return all(part in self._words or (part.isdigit() and len(part) < 4) for part in parts)


def _stem(name: str) -> str:
    """A file name without a suffix of a job's files: ``x`` of ``x.inputs``."""
    base, _, ending = name.rpartition(".")
    return base if base and f".{ending.lower()}" in _SUFFIXES else name


def allowed_words() -> FrozenSet[str]:
    """Words that name nobody: those of the program, of its packages, of the system's messages."""
    words = set(_COMMON.split())
    for source in Path(__file__).resolve().parent.parent.rglob("*.py"):
        words.update(_parts(source.read_text(encoding="utf-8", errors="replace")))
    for number in errno.errorcode:
        words.update(_parts(f"{os.strerror(number)} {errno.errorcode[number]}"))
    for distribution in importlib.metadata.distributions():
        words.update(_parts(str(distribution.metadata["Name"])))
    words.update(_parts(" ".join([*vars(builtins), *(s.name for s in signal.Signals), *platform.uname()[:1]])))
    words.update(_parts(f"{platform.machine()} {platform.python_implementation()}"))
    return frozenset(words)


def _parts(text: str) -> Iterable[str]:
    return (part for word in _WORD.findall(text.lower()) for part in word.split("_") if part and not part.isdigit())


def _box_key() -> bytes:
    """A key that stays the same on one box and is secret elsewhere; random if the box has no machine id."""
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            own = Path(place).read_bytes().strip()
        except OSError:
            continue
        if len(own) >= 16:
            return hashlib.sha256(b"sonic-edge doctor" + own).digest()
    return secrets.token_bytes(32)
