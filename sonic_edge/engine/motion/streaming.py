"""SonicNet on sound that is still arriving: mel in, motion out, a few frames later.

The weights are the same as for a whole recording. A window is run for every motion frame, and extends a little beyond
the frame that is taken from it (the look-ahead). Nothing is blended; normalisation and silence depend only on the sound
so far.

Lips are taken from every window. Life (head, eyes, brows) is sampled for several frames at once, after their sound has
arrived, because sampling costs as much as several windows. It is shown from then on, so it follows the sound a little
later than the lips do: by `SonicStream.life_lag_s`.
"""

from dataclasses import replace
from typing import List

import numpy as np

from ...media import FloatArray, Motion, Speech
from ...model.mel import FADE_S, SpeechTracker, normalise, rests
from .network import SonicNet, Take

LIFE_SHARE = 4
"""Life is sampled for this fraction (1 / n) of a window at once: ten frames, which gives a lag of 0.3 s."""


class SonicStream:
    """Computes motion for speech that is still arriving. Memory does not grow.

    Args:
        net: The model.
        face: The face, from `face_image`, [1, 3, size, size].
        steps: Denoising steps for each piece of life.
        seed: Seed of the random numbers.
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
        # the latest window of sound; silence before the first sound
        self._mel: FloatArray = np.tile(self._silence, window.frames)
        self._silent = np.ones(window.mel_frames, np.bool_)
        self._waiting: FloatArray = self._silence[:, :0]  # mel of a motion frame that is not complete yet
        self._next = -self._ahead  # the motion frame that the next hop of mel completes; frames begin at 0
        self._n_life = max(self._ahead, window.frames // LIFE_SHARE)
        self._life = np.zeros((len(spec.life.channels), self._n_life), np.float32)  # the current piece
        self._rest = 1.0

    @property
    def life_lag_s(self) -> float:
        """How much older the sound behind life is than the sound behind the lips of the same frame, seconds."""
        return (self._n_life - self._ahead) / self._window.fps

    def push(self, mel: FloatArray) -> Motion:
        """Process the next mel frames.

        Args:
            mel: [n_mels, n] log10 power, not normalised, from `mel.MelStream`; any n.

        Returns:
            The frames that are complete now (often none), raw as from `SonicNet.motion`, continuing the earlier ones.

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
        """The remaining frames, as if silence followed; like `SonicNet.motion` it ends a little after the sound.

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
        """Process mel of one motion frame, [n_mels, hop]; returns the frame that it completes, [n_channels], if any."""
        self._mel = np.concatenate([self._mel[:, self._hop :], hop], axis=1)
        self._silent = np.concatenate([self._silent[self._hop :], self._tracker.push(hop)])
        frame = self._next
        self._next += 1
        if frame < -1:
            return []
        # A piece of life is sampled when the previous one is used up. Frame -1 is the photo's own pose: its window is
        # run only for the first piece.
        used_up = (frame + 1) % self._n_life == 0
        heard = normalise(self._mel, self._tracker.mean, self._settings)
        said, life = self._take.window(heard, self._n_life if used_up else 0)
        row = np.concatenate([said[:, -1 - self._ahead], self._life[:, frame % self._n_life], [self._quiet(ended)]])
        if used_up:
            self._life = life
        return [row.astype(np.float32)] if frame >= 0 else []

    def _quiet(self, ended: bool) -> float:
        """How quiet the window's frame is, 0..1.

        A pause is recognised only after it has lasted a while, so the value then rises gradually.
        """
        window = self._window
        at = ((window.frames - 1 - self._ahead) / window.fps + window.offset_s) * self._settings.frames_per_s
        now = float(np.interp(at, np.arange(window.mel_frames), rests(self._silent, self._settings, ended)))
        step = 1 / (FADE_S * window.fps)
        self._rest = min(max(now, self._rest - step), self._rest + step)
        return self._rest

    def _motion(self, first: int, rows: List[FloatArray]) -> Motion:
        """Frames as motion, the first being number `first`."""
        channels, window = self._net.channels, self._window
        values = np.array(rows, np.float32).reshape(-1, len(channels))
        start_s = first / window.fps + window.offset_s
        return Motion(channels, values, window.fps, start_s, self._net.bundle.motion.lips.lead_s)


def streamed_motion(net: SonicNet, speech: Speech, face: FloatArray, steps: int, seed: int) -> Motion:
    """A whole recording processed by `SonicStream`, for comparison with `SonicNet.motion`; the same arguments.

    Raises:
        DeviceError: If the backend fails.
    """
    stream = SonicStream(net, face, steps, seed)
    pieces = [stream.push(speech.mel.astype(np.float32)), stream.finish()]
    return replace(pieces[0], values=np.concatenate([piece.values for piece in pieces]))
