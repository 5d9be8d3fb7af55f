"""SonicNet: speech and a face in, facial motion out.

Two graphs. The encoder takes 1.6 s of speech and the face: it gives the lips directly, and the condition
for what speech does not determine. The denoiser samples that remainder (head, eyes, brows) from noise in a few
steps of flow matching (Lipman et al. 2023).

Only operators that export to ONNX exactly, run as INT8 on the chip, and are quick to train on a CPU: 1x1 convolutions,
batch norm, ReLU, dense layers. A convolution over time is a splice (TDNN, Waibel 1989): neighbours side by side in the
channels, then a 1x1 convolution; the same sums as a 3-wide convolution. The face is cut into patches for the same
reason.
"""

from typing import Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from models.life import FACE

N_MELS, MEL_FRAMES = 80, 160
FRAMES = 40  # motion frames of a window, 25 a second
MEL_PER_FRAME = MEL_FRAMES // FRAMES
IMAGE = 224
N_LIPS, N_VISEMES, N_LIFE = 5, 16, 9
BANDS_AT_ONCE = 4  # mel bands that the first layer takes together
N_BANDS = N_MELS // BANDS_AT_ONCE
BAND_WIDTH = 48
N_OCTAVES = N_BANDS // 2
OCTAVE_WIDTH = 64
WIDTH = 192  # channels of the speech trunk
DILATIONS = (1, 2, 4, 8, 1, 2)
FACE_TYPICAL = (0.05, 0.85, 0.2, 0.22, 0.14, 0.0, 0.0)  # the units of `portraits.measure`
FACE_SPREAD = (0.12, 0.15, 0.3, 0.07, 0.06, 0.2, 0.12)
CONDITION = 64
N_SPEECH = CONDITION - len(FACE)  # channels of the condition that come from speech
DENOISER_WIDTH = 96
DENOISER_DILATIONS = (1, 2, 4, 8, 4, 2, 1)
N_FREQUENCIES = 12  # of the step, each as sine and cosine


class Splice(nn.Cell):
    """Each frame beside its neighbours `dilation` away: [B, C, 1, T] -> [B, 3C, 1, T], zeros past the ends."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.pad = ops.Pad(((0, 0), (0, 0), (0, 0), (dilation, dilation)))
        self.cat_channels = ops.Concat(axis=1)

    def construct(self, x: Tensor) -> Tensor:
        """As the class says."""
        padded = self.pad(x)  # [B, C, 1, T + 2d]
        n = x.shape[3]
        before = padded[:, :, :, 0:n]
        after = padded[:, :, :, 2 * self.dilation : 2 * self.dilation + n]
        return self.cat_channels((before, x, after))


def pointwise(n_in: int, n_out: int, has_bias: bool = True) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(n_in, n_out, 1, has_bias=has_bias, weight_init="HeUniform")


class Residual(nn.Cell):
    """ReLU6(x + BatchNorm(3-wide dilated convolution of x)).

    The cut at 6 is for INT8: without it a few frames reach 70 where most stay under 5, and 256 steps over such a range
    make the lips tremble (r 0.88 with the exact ones; with the cut 0.99 and more).
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.splice = Splice(dilation)
        self.conv = pointwise(3 * channels, channels, has_bias=False)
        self.norm = nn.BatchNorm2d(channels, gamma_init=0.5)
        self.relu6 = nn.ReLU6()

    def construct(self, x: Tensor) -> Tensor:
        """As the class says."""
        return self.relu6(x + self.norm(self.conv(self.splice(x))))


class SpeechTrunk(nn.Cell):
    """Normalised mel [B, 1, 80, 160] -> speech features [B, WIDTH, 1, 40].

    Two layers process a few neighbouring bands with the same weights everywhere, because voices differ in where
    their formants are; only then is the whole spectrum combined. Every frame sees 8 mel frames every 4: frame j of
    the output is centred on mel frame 4 j + 1.5, 15 ms past j / 25 s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = ops.Pad(((0, 0), (0, 0), (MEL_PER_FRAME // 2, MEL_PER_FRAME // 2)))
        self.pad_bands = ops.Pad(((0, 0), (0, 0), (1, 1), (0, 0)))
        self.cat_channels = ops.Concat(axis=1)
        self.bands = pointwise(3 * 2 * BANDS_AT_ONCE * MEL_PER_FRAME, BAND_WIDTH, has_bias=False)
        self.bands_norm = nn.BatchNorm2d(BAND_WIDTH)
        self.octaves = pointwise(3 * 2 * BAND_WIDTH, OCTAVE_WIDTH, has_bias=False)
        self.octaves_norm = nn.BatchNorm2d(OCTAVE_WIDTH)
        self.stem = pointwise(OCTAVE_WIDTH * N_OCTAVES, WIDTH, has_bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.relu6 = nn.ReLU6()
        self.blocks = nn.SequentialCell([Residual(WIDTH, dilation) for dilation in DILATIONS])

    def construct(self, audio: Tensor) -> Tensor:
        """As the class says."""
        x = self.pad(ops.reshape(audio, (-1, N_MELS, MEL_FRAMES)))  # [B, 80, 164]
        x = ops.reshape(x, (-1, N_BANDS, BANDS_AT_ONCE, FRAMES + 1, MEL_PER_FRAME))
        x = ops.transpose(x, (0, 2, 4, 1, 3))  # [B, 4 mel bands, 4 mel frames, 20, 41]
        x = ops.reshape(x, (-1, BANDS_AT_ONCE * MEL_PER_FRAME, N_BANDS, FRAMES + 1))
        x = self.cat_channels((x[:, :, :, 0:FRAMES], x[:, :, :, 1 : FRAMES + 1]))  # [B, 32, 20, 40]
        x = self.relu6(self.bands_norm(self.bands(self._beside(x, N_BANDS))))  # [B, BAND_WIDTH, 20, 40]
        x = ops.transpose(ops.reshape(x, (-1, BAND_WIDTH, N_OCTAVES, 2, FRAMES)), (0, 1, 3, 2, 4))
        x = ops.reshape(x, (-1, 2 * BAND_WIDTH, N_OCTAVES, FRAMES))
        x = self.relu6(self.octaves_norm(self.octaves(self._beside(x, N_OCTAVES))))  # [B, OCTAVE_WIDTH, 10, 40]
        x = ops.reshape(x, (-1, OCTAVE_WIDTH * N_OCTAVES, 1, FRAMES))
        return self.blocks(self.relu6(self.norm(self.stem(x))))

    def _beside(self, x: Tensor, n: int) -> Tensor:
        """Each band beside the ones under and over it: [B, C, n, T] -> [B, 3C, n, T]."""
        padded = self.pad_bands(x)
        return self.cat_channels((padded[:, :, 0:n, :], x, padded[:, :, 2 : n + 2, :]))


class LipHeads(nn.Cell):
    """Speech features -> raw lips [B, 5, 40], closure logits [B, 1, 40], viseme logits [B, 16, 40].

    Three convolutions, not one: lips and logits differ in size by ten, and an INT8 tensor has one scale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.splice = Splice(1)
        self.lips = nn.Conv2d(3 * WIDTH, N_LIPS, 1, has_bias=True)
        self.closure = nn.Conv2d(3 * WIDTH, 1, 1, has_bias=True)
        self.visemes = nn.Conv2d(3 * WIDTH, N_VISEMES, 1, has_bias=True)

    def construct(self, features: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """As the class says."""
        x = self.splice(features)
        lips = ops.reshape(self.lips(x), (-1, N_LIPS, FRAMES))
        closure = ops.reshape(self.closure(x), (-1, 1, FRAMES))
        return lips, closure, ops.reshape(self.visemes(x), (-1, N_VISEMES, FRAMES))


class Shift(nn.Cell):
    """A quarter of the channels moved one place up, down, left and right: [B, C, H, W] -> the same, zeros at the edges.

    With a 1x1 convolution after it, neighbours mix without further multiplications (Wu et al. 2018, Shift).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quarter = channels // 4
        self.pad = ops.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.cat_channels = ops.Concat(axis=1)

    def construct(self, x: Tensor) -> Tensor:
        """As the class says."""
        h, w, q = x.shape[2], x.shape[3], self.quarter
        padded = self.pad(x)
        up = padded[:, 0:q, 0:h, 1 : w + 1]
        down = padded[:, q : 2 * q, 2 : h + 2, 1 : w + 1]
        left = padded[:, 2 * q : 3 * q, 1 : h + 1, 0:w]
        right = padded[:, 3 * q :, 1 : h + 1, 2 : w + 2]
        return self.cat_channels((up, down, left, right))


class FaceBranch(nn.Cell):
    """Aligned face [B, 3, 224, 224] -> its rest state [B, len(FACE)], as `portraits.measure` would measure it.

    Works on grey levels, minus their mean over the picture and divided by their mean deviation, so that neither the
    camera's exposure and contrast nor the colour of the light has an effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = ops.ReduceMean(keep_dims=True)
        self.patch, self.patch_norm = pointwise(16, 16, has_bias=False), nn.BatchNorm2d(16)
        self.fine, self.fine_norm = pointwise(64, 40, has_bias=False), nn.BatchNorm2d(40)
        self.middle, self.middle_norm = pointwise(160, 64, has_bias=False), nn.BatchNorm2d(64)
        self.shift = Shift(64)
        self.middle_mix, self.middle_mix_norm = pointwise(64, 64, has_bias=False), nn.BatchNorm2d(64, gamma_init=0.5)
        self.coarse, self.coarse_norm = pointwise(256, 96, has_bias=False), nn.BatchNorm2d(96)
        self.hidden = nn.Dense(96 * 49, 96)
        self.out = nn.Dense(96, len(FACE))
        self.relu = nn.ReLU()
        self.relu6 = nn.ReLU6()

    def construct(self, image: Tensor) -> Tensor:
        """As the class says."""
        grey = self.mean(image, 1)  # [B, 1, 224, 224]
        x = grey - self.mean(grey, (2, 3))
        contrast = self.mean(self.relu(x) + self.relu(-x), (2, 3))
        x = x / (contrast + 0.03)
        x = ops.transpose(ops.reshape(x, (-1, 56, 4, 56, 4)), (0, 2, 4, 1, 3))
        x = ops.reshape(x, (-1, 16, 56, 56))
        x = self.relu6(self.patch_norm(self.patch(x)))
        x = self.relu6(self.fine_norm(self.fine(self._merge(x, 16, 28))))
        x = self.relu6(self.middle_norm(self.middle(self._merge(x, 40, 14))))
        x = self.relu6(x + self.middle_mix_norm(self.middle_mix(self.shift(x))))
        x = self.relu6(self.coarse_norm(self.coarse(self._merge(x, 64, 7))))
        return self.out(self.relu6(self.hidden(ops.reshape(x, (-1, 96 * 49)))))

    def _merge(self, x: Tensor, channels: int, side: int) -> Tensor:
        """Four neighbours beside each other: [B, C, 2 side, 2 side] -> [B, 4 C, side, side]."""
        x = ops.transpose(ops.reshape(x, (-1, channels, side, 2, side, 2)), (0, 1, 3, 5, 2, 4))
        return ops.reshape(x, (-1, 4 * channels, side, side))


class Condition(nn.Cell):
    """Speech features and the face [B, len(FACE), 1] -> the denoiser's condition, [B, 64, 40], each of unit size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pointwise(WIDTH, N_SPEECH, has_bias=False)
        self.norm = nn.BatchNorm2d(N_SPEECH)
        self.cat = ops.Concat(axis=1)
        self.ones = Tensor(np.ones((1, 1, FRAMES), np.float32))
        self.typical = Tensor(np.array(FACE_TYPICAL, np.float32).reshape(1, -1, 1))
        self.scale = Tensor(1 / np.array(FACE_SPREAD, np.float32).reshape(1, -1, 1))

    def construct(self, features: Tensor, face: Tensor) -> Tensor:
        """As the class says."""
        speech = ops.reshape(self.norm(self.conv(features)), (-1, N_SPEECH, FRAMES))
        return self.cat((speech, (face - self.typical) * self.scale * self.ones))


class InThisFace(nn.Cell):
    """Lips of a typical face -> lips of this face, by the face branch's estimate.

    A viseme is a shape, so an opening scales with the size of the mouth: jaw is scaled by the mouth's own width over
    the typical one, as far as a smile has not stretched it. A smile stays while its owner speaks: it is already spread,
    so that "e" has half as far to go, and "u" must draw it together first. Thick lips protrude further when rounded. A
    typical face (`FACE_TYPICAL`) changes nothing; nothing exceeds the limits given here, whatever the estimate.
    """

    SMILE_FROM, SMILE_SPAN = 0.90, 0.25
    """Mouth width, interoculars, from which showing teeth is a smile, and over which it becomes a whole one."""
    SIZE = (0.85, 1.15)
    THICK = (0.85, 1.15)

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.cat = ops.Concat(axis=1)

    def construct(self, lips: Tensor, face: Tensor) -> Tensor:
        """Lips [B, 5, 40] and face [B, 7, 1] -> [B, 5, 40]."""
        wide, teeth, thick = face[:, 1:2, :], face[:, 2:3, :], face[:, 3:4, :]
        smile = self._cut((wide - self.SMILE_FROM) / self.SMILE_SPAN, 0.0, 1.0) * self._cut(2.0 * teeth, 0.0, 1.0)
        size = self._cut(0.5 + 0.5 * wide * (1.0 - 0.18 * smile) / FACE_TYPICAL[1], self.SIZE[0], self.SIZE[1])
        thick = self._cut(0.5 + 0.5 * thick / FACE_TYPICAL[3], self.THICK[0], self.THICK[1])
        jaw, width, rounding = lips[:, 0:1, :], lips[:, 1:2, :], lips[:, 2:3, :]
        width = width - 0.5 * smile * self.relu(width) - 0.35 * smile * rounding
        return self.cat((jaw * size, width, rounding * thick, lips[:, 3:N_LIPS, :]))

    def _cut(self, x: Tensor, low: float, high: float) -> Tensor:
        """x cut to low..high, in operators that every backend has."""
        return low + self.relu(x - low) - self.relu(x - high)


class SpokenLips(nn.Cell):
    """Raw lips [B, 5, 40] and viseme logits [B, 16, 40] -> lips of a typical face within their ranges [B, 5, 40], and
    viseme probabilities [B, 16, 40].

    Every channel is the mean of what was regressed and of the viseme probabilities read through the teacher's mean lips
    of each viseme: this agrees with people's lips better than either.

    Args:
        viseme_lips: [16, 5] mean lips of each viseme, from the teacher.
    """

    def __init__(self, viseme_lips: NDArray[np.float32]) -> None:
        super().__init__()
        table = viseme_lips.T.reshape(1, N_LIPS, N_VISEMES, 1)
        self.viseme_lips = Parameter(Tensor(table), name="viseme_lips", requires_grad=False)
        # an uncertain network moves too little; set after training so that lips move as far as the teacher's
        self.gain = Parameter(Tensor(np.ones((1, N_LIPS, 1), np.float32)), name="gain", requires_grad=False)
        self.shift = Parameter(Tensor(np.zeros((1, N_LIPS, 1), np.float32)), name="shift", requires_grad=False)
        self.relu = nn.ReLU()
        self.softmax = nn.Softmax(axis=1)
        self.sum_classes = ops.ReduceSum()
        self.cat = ops.Concat(axis=1)
        self.cat_time = ops.Concat(axis=2)

    def construct(self, raw: Tensor, logits: Tensor) -> Tuple[Tensor, Tensor]:
        """As the class says."""
        visemes = self.softmax(logits)
        smooth = ops.reshape(self._smooth(visemes), (-1, 1, N_VISEMES, FRAMES))
        read = self.sum_classes(smooth * self.viseme_lips, 2)  # [B, 5, 40]
        moved = (0.5 * raw + 0.5 * read) * self.gain + self.shift
        width = self._unit(0.5 * moved[:, 1:2, :] + 0.5) * 2.0 - 1.0
        return self.cat((self._unit(moved[:, 0:1, :]), width, self._unit(moved[:, 2:N_LIPS, :]))), visemes

    def _unit(self, x: Tensor) -> Tensor:
        """x cut to 0..1, in operators that every backend has."""
        return self.relu(x) - self.relu(x - 1.0)

    def _smooth(self, x: Tensor) -> Tensor:
        """Quarter, half, quarter over three frames; the ends count twice."""
        padded = self.cat_time((x[:, :, 0:1], x, x[:, :, FRAMES - 1 : FRAMES]))
        return 0.25 * padded[:, :, 0:FRAMES] + 0.5 * x + 0.25 * padded[:, :, 2 : FRAMES + 2]


class Shut(nn.Cell):
    """Closure logits [B, 1, 40] and viseme probabilities [B, 16, 40] -> probability that the lips are shut [B, 1, 40].

    A weighted mean of the log-odds of the closure head and of the class of p, b, m: where only one of them is sure, it
    is more often wrong. In real speech this detects as many closures with fewer false ones.
    """

    CLASS = 1  # p, b, m in `phonemes.VISEMES`
    SHARE = 0.4  # of the class
    LEAST = 1e-4  # probability that counts as none

    def __init__(self) -> None:
        super().__init__()
        self.log = ops.Log()
        self.sigmoid = nn.Sigmoid()

    def construct(self, closure: Tensor, visemes: Tensor) -> Tensor:
        """As the class says."""
        p = visemes[:, self.CLASS : self.CLASS + 1, :]
        odds = self.log(p + self.LEAST) - self.log((1.0 + self.LEAST) - p)
        return self.sigmoid((1.0 - self.SHARE) * closure + self.SHARE * odds)


class Rest(nn.Cell):
    """Rests the lips in lasting silence: lips [B, 5, 40] and visemes [B, 16, 40] -> lips [B, 5, 40].

    By the mean probability of silence over seven frames, so that a pause of a third of a second rests and the closure
    of a "t" does not. It recognises a pause in noise, where loudness alone (`mel.quiet`) does not.
    """

    REACH = 3  # frames to either side
    FROM, SPAN = 0.35, 0.2

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.cat_time = ops.Concat(axis=2)

    def construct(self, lips: Tensor, visemes: Tensor) -> Tensor:
        """As the class says."""
        x = visemes[:, 0:1, :]
        first, last = x[:, :, 0:1], x[:, :, FRAMES - 1 : FRAMES]
        padded = self.cat_time((first, first, first, x, last, last, last))
        mean = padded[:, :, 0:FRAMES]
        for i in range(1, 2 * self.REACH + 1):
            mean = mean + padded[:, :, i : i + FRAMES]
        silent = (mean / (2.0 * self.REACH + 1.0) - self.FROM) / self.SPAN
        return lips * (1.0 - self.relu(silent) + self.relu(silent - 1.0))


class Encoder(nn.Cell):
    """The whole encoder: what the bundle's `encoder` stage computes.

    Args:
        viseme_lips: [16, 5] mean lips of each viseme, from the teacher.
    """

    def __init__(self, viseme_lips: NDArray[np.float32]) -> None:
        super().__init__()
        self.trunk = SpeechTrunk()
        self.heads = LipHeads()
        self.spoken = SpokenLips(viseme_lips)
        self.shut = Shut()
        self.rest = Rest()
        self.face_branch = FaceBranch()
        self.in_this_face = InThisFace()
        self.condition = Condition()
        self.relu = nn.ReLU()
        self.sum_last = ops.ReduceSum()

    def construct(self, audio_input: Tensor, image_input: Tensor) -> Tuple[Tensor, ...]:
        """As the class says."""
        features = self.trunk(audio_input)
        raw, closure, logits = self.heads(features)
        lips, visemes = self.spoken(raw, logits)
        face = ops.reshape(self.face_branch(image_input), (-1, len(FACE), 1))
        lips = self.in_this_face(self.rest(lips, visemes), face)
        shut = self.shut(closure, visemes)
        # the ONNX exporter renames outputs: an output must be a node that nothing else in the graph reads
        return lips, shut, self.relu(visemes), self.condition(features, face), self.sum_last(face, 2)


class Denoiser(nn.Cell):
    """One step of flow matching: where the noisy motion should go. What the bundle's `denoiser` stage computes.

    velocity = (2 t - 1) / q noisy + residual / sqrt(q), q = t^2 + (1 - t)^2: the first term is the best linear guess
    for motion and noise of unit variance, so that a small network (and INT8) need not carry either through its layers,
    and what it learns is of unit size at every step, as Karras et al. (2022) have it for diffusion.
    """

    def __init__(self) -> None:
        super().__init__()
        self.splice_in = Splice(1)
        self.condition_in = pointwise(3 * CONDITION, DENOISER_WIDTH, has_bias=False)
        self.motion_in = pointwise(3 * (2 * N_LIFE + 1), DENOISER_WIDTH)
        self.step_hidden = nn.Dense(2 * N_FREQUENCIES, 64)
        self.step_out = nn.Dense(64, DENOISER_WIDTH * (len(DENOISER_DILATIONS) + 1))
        self.blocks = nn.CellList([Residual(DENOISER_WIDTH, dilation) for dilation in DENOISER_DILATIONS])
        self.splice_out = Splice(1)
        self.conv_out = nn.Conv2d(3 * DENOISER_WIDTH, N_LIFE, 1, has_bias=True)
        self.relu = nn.ReLU()
        self.cat = ops.Concat(axis=1)
        self.drop_row = ops.ReduceSum()  # over an axis of one
        waves = np.exp(np.linspace(0, np.log(60), N_FREQUENCIES)).astype(np.float32)
        self.frequencies = Tensor(waves.reshape(1, N_FREQUENCIES))

    def construct(self, condition: Tensor, noisy_motion: Tensor, past_motion: Tensor, step: Tensor) -> Tensor:
        """As the class says."""
        t = ops.reshape(step, (-1, 1, 1))
        q = t * t + (1.0 - t) * (1.0 - t)
        residual = self.residual(condition, noisy_motion, past_motion, step)
        return noisy_motion * ((2.0 * t - 1.0) / q) + residual / ops.sqrt(q)

    def residual(self, condition: Tensor, noisy_motion: Tensor, past_motion: Tensor, step: Tensor) -> Tensor:
        """The residual that the linear guess lacks, [B, 9, 40]."""
        angle = step * self.frequencies  # [B, N_FREQUENCIES]
        time = self.step_out(self.relu(self.step_hidden(self.cat((ops.sin(angle), ops.cos(angle))))))
        time = ops.reshape(time, (-1, DENOISER_WIDTH * (len(DENOISER_DILATIONS) + 1), 1, 1))
        x = self.condition_in(self.splice_in(ops.reshape(condition, (-1, CONDITION, 1, FRAMES))))
        motion = ops.reshape(self.cat((noisy_motion, past_motion)), (-1, 2 * N_LIFE + 1, 1, FRAMES))
        x = self.relu(x + self.motion_in(self.splice_in(motion)) + time[:, 0:DENOISER_WIDTH])
        for i in range(len(DENOISER_DILATIONS)):
            x = self.blocks[i](x + time[:, (i + 1) * DENOISER_WIDTH : (i + 2) * DENOISER_WIDTH])
        return self.drop_row(self.conv_out(self.splice_out(x)), 2)
