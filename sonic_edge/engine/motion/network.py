"""Runs SonicNet: speech and a face in, facial motion out.

The model sees windows of 1.6 s, which overlap. What speech determines (the lips) is blended across the overlap; what it
does not ("life": head, eyes, brows) is sampled by flow matching, each window continuing from the frames before it. This
module processes a whole recording; `streaming` processes sound that is still arriving.
"""

from typing import Callable, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import CLOSURE, QUIET, TONGUE, FloatArray, Motion, Portrait, Speech
from ...model.backends.base import Session
from ...model.bundle import Bundle
from ...model.mel import cut, normalise, quiet, speech_mean


def face_image(portrait: Portrait, bundle: Bundle) -> FloatArray:
    """The model's face input: the face rotated and scaled so that the eyes are where the bundle requires them.

    Returns:
        [1, 3, size, size], RGB, 0..1, read-only.
    """
    spec = bundle.motion.face
    eyes = portrait.eyes
    target = np.array([spec.eye_left, spec.eye_right]) * spec.size
    # similarity from two points, as complex numbers: z -> a z + b
    source_z, target_z = (p[:, 0] + 1j * p[:, 1] for p in (eyes, target))
    a = (target_z[1] - target_z[0]) / (source_z[1] - source_z[0])
    b = target_z[0] - a * source_z[0]
    image, scale = portrait.image, abs(a)
    if scale < 0.7:  # shrink with averaging first, or the warp would alias
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        a = a / scale
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)
    aligned = cv2.warpAffine(image, matrix, (spec.size, spec.size), borderMode=cv2.BORDER_REPLICATE)
    rgb = aligned[:, :, ::-1].transpose(2, 0, 1)[None]
    face: FloatArray = np.ascontiguousarray(rgb, np.float32) / np.float32(255)
    face.flags.writeable = False  # used for every window: a session need not check whether it has changed
    return face


class SonicNet:
    """The model's two graphs, run over a recording.

    Args:
        bundle: The model's bundle.
        encoder: Speech window and face -> lips, closure, condition.
        denoiser: One denoising step of one window.
    """

    def __init__(self, bundle: Bundle, encoder: Session, denoiser: Session) -> None:
        self.bundle = bundle
        self._names = bundle.motion.tensors
        self._encoder = encoder
        self._denoiser = denoiser
        self._mean = np.array(bundle.motion.life.mean, np.float32)[:, None]
        self._std = np.array(bundle.motion.life.std, np.float32)[:, None]
        lips = bundle.motion.lips
        self.spoken: Tuple[str, ...] = (*lips.channels, *([TONGUE] if lips.tongue else []), CLOSURE)
        """Channels that speech determines: lips, `TONGUE` if the model has it, `CLOSURE`."""
        self.channels: Tuple[str, ...] = (*self.spoken, *bundle.motion.life.channels, QUIET)
        """Channels of the raw motion: `spoken`, life, `QUIET`."""

    def warm_up(self) -> None:
        """Run both graphs once on silence.

        Raises:
            DeviceError: If the backend fails.
        """
        spec = self.bundle.motion
        heard = np.zeros((spec.mel.n_mels, spec.window.mel_frames), np.float32)
        face = np.zeros((1, 3, spec.face.size, spec.face.size), np.float32)
        Take(self, face, 1, 0, spec.life.noise).window(heard, spec.window.stride)

    def motion(
        self, speech: Speech, face: FloatArray, steps: int, seed: int, progress: Callable[[int, int], None]
    ) -> Motion:
        """The motion for a whole recording, before any control is applied.

        Args:
            speech: The recording.
            face: The face, from `face_image`, [1, 3, size, size].
            steps: Denoising steps for each window.
            seed: Seed of the random numbers: another seed gives another take.
            progress: Called with (windows done, total windows).

        Returns:
            Motion at the model's own rate with the channels of `channels`, ending a little after the recording.

        Raises:
            DeviceError: If the backend fails.
        """
        spec, settings = self.bundle.motion, self.bundle.mel
        window = spec.window
        lead = window.frames - window.stride  # the first window begins before the recording, in the photo's own pose
        n_frames = int(np.ceil(speech.duration_s * window.fps)) + 2
        n_windows = -(-(n_frames + lead) // window.stride)
        length = n_windows * window.stride + lead
        lips = np.zeros((len(self.spoken), length), np.float32)
        weight = np.full(length, 1e-6, np.float32)
        life = np.zeros((len(spec.life.channels), length), np.float32)

        # Cross-fade over the middle half of the overlap: a window is least certain at its ends.
        ramp = np.clip((np.arange(lead) + 0.5 - lead / 4) / max(lead / 2, 1), 0, 1)
        share = np.ones(window.frames, np.float32)
        share[:lead] = ramp
        share[window.stride :] *= ramp[::-1]

        mean = speech_mean(speech.mel, settings)
        take = Take(self, face, steps, seed, spec.life.noise)
        for i in range(n_windows):
            at = i * window.stride
            here = slice(at, at + window.frames)
            heard = normalise(self._piece(speech.mel, at - lead), mean, settings)
            said, life[:, at + lead : at + window.frames] = take.window(heard, window.stride)
            lips[:, here] += share * said
            weight[here] += share
            progress(i + 1, n_windows)

        kept = slice(lead, lead + n_frames)
        moments = (np.arange(n_frames) / window.fps + window.offset_s) * settings.frames_per_s  # in mel frames
        rest = np.interp(moments, np.arange(speech.mel.shape[1]), quiet(speech.mel, settings))
        values = np.concatenate([(lips / weight)[:, kept], life[:, kept], rest[None]]).T
        return Motion(
            self.channels, np.ascontiguousarray(values, np.float32), window.fps, window.offset_s, spec.lips.lead_s
        )

    def encode(self, heard: FloatArray, face: FloatArray) -> Tuple[FloatArray, FloatArray]:
        """Run the encoder on one window.

        Args:
            heard: Normalised mel, [n_mels, mel_frames].
            face: [1, 3, size, size].

        Returns:
            The channels of `spoken`, [L, frames]; the condition for `sample`, [1, C, frames].
        """
        names, tongue = self._names, self.bundle.motion.lips.tongue
        made = self._encoder.run({names.speech: heard[None, None], names.face: face})
        rows = [made[names.lips][0]]
        if tongue:
            rows.append(made[names.visemes][0, tongue].sum(0, keepdims=True))
        rows.append(made[names.closure][0])
        return np.concatenate(rows), made[names.condition]

    def sample(self, condition: FloatArray, past: FloatArray, steps: int, noise: FloatArray) -> FloatArray:
        """Sample one window of life by flow matching (Lipman et al. 2023): Euler steps from noise (0) to motion (1).

        Args:
            condition: [1, C, frames] from the encoder.
            past: [K, any], the window's first frames, known from earlier windows; they are kept.
            steps: Denoising steps.
            noise: [K, frames], the starting point.

        Returns:
            [K, frames], in the channels' own units.
        """
        names = self._names
        frames, known = self.bundle.motion.window.frames, past.shape[1]
        clean = (past - self._mean) / self._std
        past_motion = np.zeros((1, len(past) + 1, frames), np.float32)
        past_motion[0, :-1, :known] = clean
        past_motion[0, -1, :known] = 1
        t = (np.arange(steps) / steps).astype(np.float32)[:, None, None]
        path = (1 - t) * noise[:, :known] + t * clean  # of the known frames, [steps, K, known]
        x = noise.copy()
        inputs = {names.condition: condition, names.noisy: x[None], names.past: past_motion}
        for i in range(steps):
            x[:, :known] = path[i]
            inputs[names.step] = t[i]
            x += self._denoiser.run(inputs)[names.velocity][0] / np.float32(steps)
        x[:, :known] = clean
        out: FloatArray = x * self._std + self._mean
        return out

    def _piece(self, mel: NDArray[np.float16], at: int) -> FloatArray:
        """The window that begins at motion frame `at`, [n_mels, mel_frames]; silence outside the recording."""
        window = self.bundle.motion.window
        first = at * window.mel_frames // window.frames
        return cut(mel, first, window.mel_frames, self.bundle.mel)


class Take:
    """One performance, window by window: the random numbers, and the life so far, which starts in the photo's pose.

    Args:
        net: The model.
        face: [1, 3, size, size].
        steps: Denoising steps for each window.
        seed: Seed of the random numbers.
        noise: Standard deviation of the noise for each life channel; empty: 1.
    """

    def __init__(self, net: SonicNet, face: FloatArray, steps: int, seed: int, noise: Sequence[float]) -> None:
        spec = net.bundle.motion
        self._net = net
        self._face = face
        self._steps = steps
        self._rng = np.random.default_rng(seed)
        self._life = np.zeros((len(spec.life.channels), spec.window.frames), np.float32)  # the last window's
        self._spread = np.array(noise or np.ones(len(self._life)), np.float32)[:, None]

    def window(self, heard: FloatArray, n_new: int) -> Tuple[FloatArray, FloatArray]:
        """Process the next window.

        Args:
            heard: Normalised mel, [n_mels, mel_frames].
            n_new: How many frames the window extends beyond the life so far; 0: do not sample life.

        Returns:
            The channels of `SonicNet.spoken` for the whole window, [L, frames]; life for its last `n_new` frames,
            [K, n_new].

        Raises:
            DeviceError: If the backend fails.
        """
        said, condition = self._net.encode(heard, self._face)
        if n_new:
            noise = self._spread * self._rng.standard_normal(self._life.shape, dtype=np.float32)
            self._life = self._net.sample(condition, self._life[:, n_new:], self._steps, noise)
        return said, self._life[:, self._life.shape[1] - n_new :]
