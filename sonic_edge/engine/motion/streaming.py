"""SonicNet on sound that is still arriving: mel in, motion out, a few frames behind.

The same weights as for a whole recording. A window is run for every motion frame; it ends a little after the frame that
is taken of it (the look-ahead). Nothing is blended, and normalisation and silence go by what was heard up to there.

Lips come of every window. Life (head, eyes, brows) is made for some frames at once, all of them heard, because a
sampling costs as much as several windows. It is shown from then on, so that it goes by sound that is a little older
than what the lips say: by `SonicStream.life_lag_s`.
"""

from dataclasses import replace
from typing import List

import numpy as np

from ...media import FloatArray, Motion, Speech
from ...model.mel import FADE_S, SpeechTracker, normalise, rests
from .network import SonicNet, Take

LIFE_SHARE = 4
"""Life is made for one part in so many of a window at once: ten frames, for three tenths of a second of lag."""


class SonicStream:
    """Speech that is still arriving, and its motion. Memory does not grow.

    Args:
        net: The model.
        face: Who speaks: `face_image`, [1, 3, size, size].
        steps: Denoising steps for each piece of life.
        seed: Which take.
    """

    def __init__(self, net: SonicNet, face: FloatArray, steps: int, seed: int) -> None:
        self._net = net
        self._settings = net.bundle.mel
        spec = net.bundle.motion
        self._window = window = spec.window
        self._ahead = spec.stream.look_ahead_frames
        self._hop = window.mel_frames // window.frames  # mel frames for one of motion
        self._take = Take(net, face, steps, seed, spec.stream.noise)
        self._tracker = SpeechTracker(self._settings, np.array(spec.stream.prior, np.float32))
        self._silence = np.full((spec.mel.n_mels, self._hop), np.log10(self._settings.floor), np.float32)
        # the last window of what was heard; before the first sound there is silence
        self._mel: FloatArray = np.tile(self._silence, window.frames)
        self._silent = np.ones(window.mel_frames, np.bool_)
        self._waiting: FloatArray = self._silence[:, :0]  # mel of a motion frame that is not whole yet
        self._next = -self._ahead  # the motion frame that the next hop of mel gives; there is none before 0
        self._n_life = max(self._ahead, window.frames // LIFE_SHARE)
        self._life = np.zeros((len(spec.life.channels), self._n_life), np.float32)  # the last piece
        self._rest = 1.0

    @property
    def life_lag_s(self) -> float:
        """By how much the sound that life goes by is older than that of the lips beside it."""
        return (self._n_life - self._ahead) / self._window.fps

    def push(self, mel: FloatArray) -> Motion:
        """Take what was heard.

        Args:
            mel: [n_mels, n] log10 power, not normalised, as `mel.MelStream` gives it; any n.

        Returns:
            The frames that are complete now (none, often), raw as from `SonicNet.motion`, going on from those before.

        Raises:
            DeviceError: If the backend fails.
        """
        self._waiting = np.concatenate([self._waiting, mel], axis=1)
        n_hops = self._waiting.shape[1] // self._hop
        first = max(0, self._next)
        rows: List[FloatArray] = []
        for i in range(n_hops):
            rows += self._hear(self._waiting[:, i * self._hop : (i + 1) * self._hop].copy(), ended=False)
        self._waiting = self._waiting[:, n_hops * self._hop :].copy()
        return self._motion(first, rows)

    def finish(self) -> Motion:
        """The rest, as if silence followed; like `SonicNet.motion` it reaches a little past the end.

        Raises:
            DeviceError: If the backend fails.
        """
        first = max(0, self._next)
        rows: List[FloatArray] = []
        hops = [self._silence] * (self._ahead + 2)
        if self._waiting.shape[1]:
            hops.insert(0, np.concatenate([self._waiting, self._silence[:, self._waiting.shape[1] :]], axis=1))
        self._waiting = self._silence[:, :0]
        for hop in hops:
            rows += self._hear(hop, ended=True)
        return self._motion(first, rows)

    def _hear(self, hop: FloatArray, ended: bool) -> List[FloatArray]:
        """Take mel of one motion frame, [n_mels, hop]; the frame that it completes, [n_channels], if there is one."""
        self._mel = np.concatenate([self._mel[:, self._hop :], hop], axis=1)
        self._silent = np.concatenate([self._silent[self._hop :], self._tracker.push(hop)])
        frame = self._next
        self._next += 1
        if frame < -1:
            return []
        # A piece of life is made when the one before is used up. Frame -1 is of the photo's own pose: its window gives
        # the first piece, and no more.
        used_up = (frame + 1) % self._n_life == 0
        heard = normalise(self._mel, self._tracker.mean, self._settings)
        said, life = self._take.window(heard, self._n_life if used_up else 0)
        row = np.concatenate([said[:, -1 - self._ahead], self._life[:, frame % self._n_life], [self._quiet(ended)]])
        if used_up:
            self._life = life
        return [row.astype(np.float32)] if frame >= 0 else []

    def _quiet(self, ended: bool) -> float:
        """How quiet the window's frame is, 0..1. A pause is known as one when it has lasted: rest comes softly then."""
        window = self._window
        at = ((window.frames - 1 - self._ahead) / window.fps + window.offset_s) * self._settings.frames_per_s
        now = float(np.interp(at, np.arange(window.mel_frames), rests(self._silent, self._settings, ended)))
        step = 1 / (FADE_S * window.fps)
        self._rest = min(max(now, self._rest - step), self._rest + step)
        return self._rest

    def _motion(self, first: int, rows: List[FloatArray]) -> Motion:
        """The frames from number `first` on."""
        channels, window = self._net.channels, self._window
        values = np.array(rows, np.float32).reshape(-1, len(channels))
        start_s = first / window.fps + window.offset_s
        return Motion(channels, values, window.fps, start_s, self._net.bundle.motion.lips.lead_s)


def streamed_motion(net: SonicNet, speech: Speech, face: FloatArray, steps: int, seed: int) -> Motion:
    """A whole recording as a `SonicStream` gives it, to hold beside `SonicNet.motion`; the same arguments.

    Raises:
        DeviceError: If the backend fails.
    """
    stream = SonicStream(net, face, steps, seed)
    pieces = [stream.push(speech.mel.astype(np.float32)), stream.finish()]
    return replace(pieces[0], values=np.concatenate([piece.values for piece in pieces]))
