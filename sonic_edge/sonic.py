"""SonicNet at work: speech and a face in, facial motion out.

The model sees 1.6 s at a time. Windows overlap: what speech determines (lips) is blended across the overlap; what it
does not (head, eyes, brows) is sampled by flow matching, each window going on from the frames before it.
"""

from typing import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .backends.base import Session
from .bundle import Bundle
from .media import FloatArray, Motion, Portrait, Speech
from .mel import normalise, speech_mean

CLOSURE = "closure"
"""Extra channel of the raw motion: probability that the lips are shut, 0..1."""


def face_image(portrait: Portrait, bundle: Bundle) -> FloatArray:
    """The face as the model wants it: turned and scaled so that the eyes are where the bundle says.

    Returns:
        [1, 3, size, size], RGB, 0..1.
    """
    spec = bundle.spec.face
    points = portrait.landmarks[:, :2]
    eyes = np.stack([points[[33, 133]].mean(0), points[[362, 263]].mean(0)])
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
    return np.ascontiguousarray(rgb, np.float32) / np.float32(255)


class SonicNet:
    """The model's two graphs and the walk over time.

    Args:
        bundle: What the model says of itself.
        encoder: Speech window and face -> lips, closure, condition.
        denoiser: One denoising step of one window.
    """

    def __init__(self, bundle: Bundle, encoder: Session, denoiser: Session) -> None:
        self._bundle = bundle
        self._names = bundle.spec.tensors
        self._encoder = encoder
        self._denoiser = denoiser
        window = bundle.spec.window
        self._overlap = window.frames - window.stride
        self._mean = np.array(bundle.spec.life.mean, np.float32)[:, None]
        self._std = np.array(bundle.spec.life.std, np.float32)[:, None]
        # Cross-fade over the middle half of the overlap: a window knows least at its ends.
        ramp = np.clip((np.arange(self._overlap) + 0.5 - self._overlap / 4) / max(self._overlap / 2, 1), 0, 1)
        self._weight = np.ones(window.frames, np.float32)
        self._weight[: self._overlap] = ramp
        self._weight[window.stride :] *= ramp[::-1]

    def warm_up(self) -> None:
        """Run both graphs once on silence.

        Raises:
            DeviceError: If the backend fails.
        """
        spec = self._bundle.spec
        shapes = spec.stages["encoder"].inputs
        outputs = self._encoder.run({k: np.zeros(t.shape, np.float32) for k, t in shapes.items()})
        rest = np.zeros((len(spec.life.channels), self._overlap), np.float32)
        self._sample(outputs[self._names.condition], rest, 1, np.random.default_rng(0))

    def motion(
        self, speech: Speech, portrait: Portrait, steps: int, seed: int, progress: Callable[[int, int], None]
    ) -> Motion:
        """The whole recording's motion, before any control.

        Args:
            speech: What is said.
            portrait: Who says it.
            steps: Denoising steps for a window.
            seed: Which take.
            progress: Called with (windows done, windows in all).

        Returns:
            Motion at the model's own rate: lip channels, life channels and `CLOSURE`; it reaches a little past the end.

        Raises:
            DeviceError: If the backend fails.
        """
        spec = self._bundle.spec
        names = self._names
        window, n_lips, n_life = spec.window, len(spec.lips.channels), len(spec.life.channels)
        n_frames = int(np.ceil(speech.duration_s * window.fps)) + 2
        n_windows = -(-(n_frames + self._overlap) // window.stride)
        lead = self._overlap  # the first window begins before the recording: its past is the photo's own pose
        length = lead + n_windows * window.stride + self._overlap
        lips = np.zeros((n_lips + 1, length), np.float32)  # + closure
        weight = np.full(length, 1e-6, np.float32)
        life = np.zeros((n_life, length), np.float32)

        mean = speech_mean(speech.mel, self._bundle.mel)
        face = face_image(portrait, self._bundle)
        rng = np.random.default_rng(seed)
        for i in range(n_windows):
            at = i * window.stride
            here = slice(at, at + window.frames)
            heard = self._hear(speech.mel, mean, (at - lead) / window.fps)
            made = self._encoder.run({names.speech: heard, names.face: face})
            lips[:, here] += self._weight * np.concatenate([made[names.lips][0], made[names.closure][0]])
            weight[here] += self._weight
            past = life[:, at : at + self._overlap]
            life[:, here] = self._sample(made[names.condition], past, steps, rng)
            progress(i + 1, n_windows)

        values = np.concatenate([lips / weight, life])[:, lead : lead + n_frames].T
        channels = (*spec.lips.channels, CLOSURE, *spec.life.channels)
        return Motion(channels, np.ascontiguousarray(values, np.float32), window.fps, window.offset_s)

    def _hear(self, mel: NDArray[np.float16], mean: FloatArray, start_s: float) -> FloatArray:
        """The model's input for the window that begins at `start_s`, [1, 1, n_mels, mel_frames]; silence outside."""
        settings, n = self._bundle.mel, self._bundle.spec.window.mel_frames
        first = round(start_s * settings.frames_per_s)
        a, b = max(0, first), min(mel.shape[1], first + n)
        piece = np.full((settings.n_mels, n), np.log10(settings.floor), np.float32)
        if b > a:
            piece[:, a - first : b - first] = mel[:, a:b]
        return normalise(piece, mean, settings)[None, None]

    def _sample(self, condition: FloatArray, past: FloatArray, steps: int, rng: np.random.Generator) -> FloatArray:
        """One window of life by flow matching (Lipman et al. 2023), Euler steps from noise (0) to motion (1).

        Args:
            condition: [1, C, frames] from the encoder.
            past: [K, overlap], what was made of this window before; it is kept.

        Returns:
            [K, frames], in the channels' own units.
        """
        names = self._names
        frames, known = self._bundle.spec.window.frames, self._overlap
        noise = rng.standard_normal((len(past), frames), dtype=np.float32)
        clean = (past - self._mean) / self._std
        past_motion = np.zeros((1, len(past) + 1, frames), np.float32)
        past_motion[0, :-1, :known] = clean
        past_motion[0, -1, :known] = 1
        x = noise.copy()
        for i in range(steps):
            t = np.float32(i / steps)
            x[:, :known] = (1 - t) * noise[:, :known] + t * clean
            inputs = {
                names.condition: condition,
                names.noisy: x[None],
                names.past: past_motion,
                names.step: np.full((1, 1), t, np.float32),
            }
            x = x + self._denoiser.run(inputs)[names.velocity][0] / np.float32(steps)
        x[:, :known] = clean
        out: FloatArray = x * self._std + self._mean
        return out
