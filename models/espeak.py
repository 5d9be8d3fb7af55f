"""espeak-ng through its library: speech with the time of each phoneme.

Run as a program it speaks a list of jobs and leaves one .npz per job: `python -m models.espeak JOBS.json OUT_DIR`.
The library crashes occasionally on odd input, so the corpus builder runs it in short processes.
"""

import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
from numpy.typing import NDArray

from models.phonemes import CONSONANTS, PAUSE, VOWELS, Segment

# from espeak-ng/speak_lib.h
_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS, _INITIALIZE_PHONEME_IPA = 1, 2
_EVENT_END, _EVENT_MSG_TERMINATED, _EVENT_PHONEME = 5, 6, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_CHARS_UTF8 = 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    ]  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Job:
    """One thing to say."""

    voice: str
    """espeak-ng language, with +variant."""
    text: str
    rate: int
    """Words a minute."""
    pitch: int
    """0..99."""
    pitch_range: int
    """0..99."""


class Espeak:
    """The library, opened once per process."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libespeak-ng.so.1")
        flags = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA
        self.sample_rate: int = self._lib.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 200, None, flags)
        self._pieces: List[NDArray[np.int16]] = []
        self._events: List[Tuple[float, str]] = []
        self._callback = _Callback(self._receive)  # kept: the library holds only a pointer
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, n_samples: int, events: Any) -> int:
        if samples and n_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, shape=(n_samples,)).copy())
        i = 0
        while events[i].type != 0:
            event = events[i]
            if event.type == _EVENT_PHONEME:
                name = bytes(event.id.string).split(b"\0")[0].decode("utf8", "ignore")
                self._events.append((event.sample / self.sample_rate, name))
            elif event.type in (_EVENT_END, _EVENT_MSG_TERMINATED):
                self._events.append((event.sample / self.sample_rate, "_"))
            i += 1
        return 0

    def say(self, job: Job) -> Tuple[NDArray[np.int16], List[Tuple[float, str]]]:
        """Speech [n] at `sample_rate` and its (start in seconds, IPA) events; empty if there is no such voice."""
        self._pieces.clear()
        self._events.clear()
        if self._lib.espeak_SetVoiceByName(job.voice.encode()) != 0:
            return np.zeros(0, np.int16), []
        for parameter, value in ((_RATE, job.rate), (_PITCH, job.pitch), (_RANGE, job.pitch_range)):
            self._lib.espeak_SetParameter(parameter, value, 0)
        text = job.text.encode("utf8")
        self._lib.espeak_Synth(text, len(text) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        self._lib.espeak_Synchronize()
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        return samples, list(self._events)


def mend_times(spoken: List[Segment]) -> List[Segment]:
    """Put espeak-ng's phoneme borders where the sound changes, [n] segments to at most n.

    Measured between vowels (`models.borders`): its voiceless stops are announced at the burst. The 50 ms of closed lips
    before it are counted to the vowel, or, in Mandarin and Vietnamese, are a nameless event at the end of the
    syllable, which would read as a pause. After nasals and the like the vowel is heard 20 ms before it is announced.
    The other synthesizers' borders agree with the sound within 10 ms.
    """
    joined: List[Segment] = []
    closed = set()  # stops that have their closure already
    for segment in spoken:
        gap = joined[-1] if len(joined) > 1 else None
        if gap and gap.symbol == PAUSE and gap.end_s - gap.start_s < 0.06 and segment.symbol in CONSONANTS:
            joined[-1] = Segment(gap.start_s, segment.end_s, segment.symbol)
            closed.add(len(joined) - 1)
        else:
            joined.append(segment)
    borders = [segment.start_s for segment in joined] + [joined[-1].end_s if joined else 0.0]
    for i, segment in enumerate(joined):
        before = joined[i - 1].end_s - joined[i - 1].start_s if i else 0.0
        if segment.symbol in "ptk" and i and i not in closed:
            borders[i] -= max(0.0, min(0.05, before - 0.02))
        elif segment.symbol in VOWELS and i and joined[i - 1].symbol in "mnɲlɾvzðwj":
            borders[i] -= min(0.02, before / 2)
    return [Segment(start, end, segment.symbol) for segment, start, end in zip(joined, borders, borders[1:])]


def main(jobs_path: str, out_dir: str) -> None:
    """Speak every job of a JSON list into out_dir/<index>.npz; jobs already done are skipped."""
    espeak = Espeak()
    for i, fields in enumerate(json.loads(Path(jobs_path).read_text("utf8"))):
        path = Path(out_dir) / f"{i:05d}.npz"
        if path.exists():
            continue
        path.write_bytes(b"")  # marks the job as begun: if the library dies on it, the next process skips it
        samples, events = espeak.say(Job(**fields))
        starts, names = [start for start, _ in events], [name for _, name in events]
        np.savez(
            path, samples=samples, rate=espeak.sample_rate, starts=np.array(starts), names=np.array(names, dtype="U8")
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
