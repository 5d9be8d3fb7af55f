"""SonicNet: speech and a face in, facial motion out.

Two graphs. The encoder hears 1.6 s of speech and sees the face once: lips come straight out of it, as does the
condition for what speech does not dictate. The denoiser makes that remainder (head, eyes, brows) out of noise, a few
steps of flow matching at a time (Lipman et al. 2023).

Only operators that export to ONNX exactly, run as INT8 on the chip, and are quick to train on a CPU: 1x1 convolutions,
batch norm, ReLU, dense layers. A convolution over time is a splice (TDNN, Waibel 1989): neighbours side by side in the
channels, then a 1x1 convolution; the same sums as a 3-wide convolution. The face is cut into patches for the same reason.
"""

from typing import List, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

N_MELS, MEL_FRAMES = 80, 160
FRAMES = 40  # motion frames of a window, 25 a second
MEL_PER_FRAME = MEL_FRAMES // FRAMES
IMAGE = 224
N_LIPS, N_VISEMES, N_LIFE = 5, 16, 9
WIDTH = 112  # channels of the speech trunk
DILATIONS = (1, 2, 4, 8, 1, 2)
FACE = ("mouth_opening", "mouth_width", "teeth", "eye_opening", "yaw", "pitch")
CONDITION = 64
N_SPEECH = CONDITION - len(FACE)  # channels of the condition that come from speech
DENOISER_WIDTH = 96
DENOISER_DILATIONS = (1, 2, 4, 8, 1)


class Splice(nn.Cell):
    """Each frame beside its neighbours `dilation` away: [B, C, 1, T] -> [B, 3C, 1, T], zeros past the ends."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.pad = ops.Pad(((0, 0), (0, 0), (0, 0), (dilation, dilation)))
        self.cat_channels = ops.Concat(axis=1)

    def construct(self, x):
        padded = self.pad(x)  # [B, C, 1, T + 2d]
        n = x.shape[3]
        before = padded[:, :, :, 0:n]
        after = padded[:, :, :, 2 * self.dilation : 2 * self.dilation + n]
        return self.cat_channels((before, x, after))


def pointwise(n_in: int, n_out: int, has_bias: bool = True) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(n_in, n_out, 1, has_bias=has_bias, weight_init="HeUniform")


class Residual(nn.Cell):
    """x + ReLU(BatchNorm(3-wide dilated convolution of x))."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.splice = Splice(channels, dilation)
        self.conv = pointwise(3 * channels, channels, has_bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def construct(self, x):
        return x + self.relu(self.norm(self.conv(self.splice(x))))


class SpeechTrunk(nn.Cell):
    """Normalised mel [B, 1, 80, 160] -> speech features [B, WIDTH, 1, 40].

    The stem sees 8 mel frames every 4: frame j of the output is centred on mel frame 4 j + 1.5, 15 ms past j / 25 s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = ops.Pad(((0, 0), (0, 0), (MEL_PER_FRAME // 2, MEL_PER_FRAME // 2)))
        self.cat_channels = ops.Concat(axis=1)
        self.stem = pointwise(2 * N_MELS * MEL_PER_FRAME, WIDTH, has_bias=False)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(WIDTH)
        self.blocks = nn.SequentialCell([Residual(WIDTH, dilation) for dilation in DILATIONS])

    def construct(self, audio):
        x = self.pad(ops.reshape(audio, (-1, N_MELS, MEL_FRAMES)))  # [B, 80, 164]
        x = ops.reshape(x, (-1, N_MELS, FRAMES + 1, MEL_PER_FRAME))
        x = ops.transpose(x, (0, 1, 3, 2))  # [B, 80, 4, 41]
        x = ops.reshape(x, (-1, N_MELS * MEL_PER_FRAME, 1, FRAMES + 1))
        x = self.cat_channels((x[:, :, :, 0:FRAMES], x[:, :, :, 1 : FRAMES + 1]))  # [B, 640, 1, 40]
        return self.blocks(self.relu(self.norm(self.stem(x))))


class LipHeads(nn.Cell):
    """Speech features -> raw lips [B, 5, 40], closure logits [B, 1, 40], viseme logits [B, 16, 40]."""

    def __init__(self) -> None:
        super().__init__()
        self.splice = Splice(WIDTH, 1)
        self.conv = pointwise(3 * WIDTH, N_LIPS + 1 + N_VISEMES)

    def construct(self, features):
        x = ops.reshape(self.conv(self.splice(features)), (-1, N_LIPS + 1 + N_VISEMES, FRAMES))
        return x[:, 0:N_LIPS, :], x[:, N_LIPS : N_LIPS + 1, :], x[:, N_LIPS + 1 :, :]


class FaceBranch(nn.Cell):
    """Aligned face [B, 3, 224, 224] -> its rest state [B, len(FACE)], in the units of `faces.Answers`.

    Works on grey levels less their mean over the picture, so that neither the camera's exposure nor the colour of the
    light comes into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = ops.ReduceMean(keep_dims=True)
        self.patch = pointwise(64, 32, has_bias=False)
        self.patch_norm = nn.BatchNorm2d(32)
        self.middle = pointwise(128, 48, has_bias=False)
        self.middle_norm = nn.BatchNorm2d(48)
        self.coarse = pointwise(192, 32, has_bias=False)
        self.coarse_norm = nn.BatchNorm2d(32)
        self.hidden = nn.Dense(32 * 49, 64)
        self.out = nn.Dense(64, len(FACE))
        self.relu = nn.ReLU()

    def construct(self, image):
        grey = self.mean(image, 1)  # [B, 1, 224, 224]
        x = (grey - self.mean(grey, (2, 3))) * 4.0
        x = self.relu(self.patch_norm(self.patch(self._patches(x, 1, 28, 8))))  # [B, 32, 28, 28]
        x = self.relu(self.middle_norm(self.middle(self._patches(x, 32, 14, 2))))  # [B, 48, 14, 14]
        x = self.relu(self.coarse_norm(self.coarse(self._patches(x, 48, 7, 2))))  # [B, 32, 7, 7]
        x = ops.reshape(x, (-1, 32 * 49))
        return self.out(self.relu(self.hidden(x)))

    def _patches(self, x, channels, side, size):
        """[B, C, side * size, side * size] -> [B, C * size * size, side, side]."""
        x = ops.reshape(x, (-1, side, size, side, size)) if channels == 1 else self._split(x, channels, side, size)
        if channels == 1:
            x = ops.transpose(x, (0, 2, 4, 1, 3))  # [B, size, size, side, side]
        return ops.reshape(x, (-1, channels * size * size, side, side))

    def _split(self, x, channels, side, size):
        x = ops.reshape(x, (-1, channels, side, size, side, size))
        return ops.transpose(x, (0, 1, 3, 5, 2, 4))  # [B, C, size, size, side, side]


class Encoder(nn.Cell):
    """The whole encoder: what the bundle's `encoder` stage computes.

    Args:
        viseme_jaw: [16] opening of the lips in each viseme, from the teacher.
    """

    def __init__(self, viseme_jaw: NDArray[np.float32]) -> None:
        super().__init__()
        self.trunk = SpeechTrunk()
        self.heads = LipHeads()
        self.face_branch = FaceBranch()
        self.to_condition = pointwise(WIDTH, N_SPEECH)
        self.viseme_jaw = Parameter(Tensor(viseme_jaw.reshape(1, N_VISEMES, 1)), name="viseme_jaw", requires_grad=False)
        self.relu = nn.ReLU()
        self.sigmoid = nn.Sigmoid()
        self.softmax = nn.Softmax(axis=1)
        self.sum = ops.ReduceSum(keep_dims=True)
        self.sum_last = ops.ReduceSum()
        self.cat = ops.Concat(axis=1)
        self.cat_time = ops.Concat(axis=2)
        self.ones = Tensor(np.ones((1, 1, FRAMES), np.float32))

    def construct(self, audio_input, image_input):
        features = self.trunk(audio_input)
        raw, closure, visemes = self.heads(features)
        visemes = self.softmax(visemes)
        read = self.sum(self._smooth(visemes) * self.viseme_jaw, 1)  # [B, 1, 40] opening read off the table
        jaw = 0.5 * self._unit(raw[:, 0:1, :]) + 0.5 * read
        width = self._unit(0.5 * raw[:, 1:2, :] + 0.5) * 2.0 - 1.0
        lips = self.cat((jaw, width, self._unit(raw[:, 2:5, :])))
        face = ops.reshape(self.face_branch(image_input), (-1, len(FACE), 1))
        speech = ops.reshape(self.to_condition(features), (-1, N_SPEECH, FRAMES))
        condition = self.cat((speech, face * self.ones))
        # the ONNX exporter renames what it gives out: an output must be a node that nothing else in the graph reads
        return lips, self.sigmoid(closure), self.relu(visemes), condition, self.sum_last(face, 2)

    def _unit(self, x):
        """x cut to 0..1, in operators that every backend has."""
        return self.relu(x) - self.relu(x - 1.0)

    def _smooth(self, x):
        """Quarter, half, quarter over three frames; the ends count twice."""
        padded = self.cat_time((x[:, :, 0:1], x, x[:, :, FRAMES - 1 : FRAMES]))
        return 0.25 * padded[:, :, 0:FRAMES] + 0.5 * x + 0.25 * padded[:, :, 2 : FRAMES + 2]


class Denoiser(nn.Cell):
    """One step of flow matching: where the noisy motion should go. What the bundle's `denoiser` stage computes."""

    def __init__(self) -> None:
        super().__init__()
        n_in = CONDITION + N_LIFE + N_LIFE + 1
        self.splice_in = Splice(n_in, 1)
        self.conv_in = pointwise(3 * n_in, DENOISER_WIDTH)
        self.step_hidden = nn.Dense(16, 64)
        self.step_out = nn.Dense(64, DENOISER_WIDTH)
        self.blocks = nn.CellList([Residual(DENOISER_WIDTH, dilation) for dilation in DENOISER_DILATIONS])
        self.splice_out = Splice(DENOISER_WIDTH, 1)
        self.conv_out = pointwise(3 * DENOISER_WIDTH, N_LIFE)
        self.relu = nn.ReLU()
        self.cat = ops.Concat(axis=1)
        self.drop_row = ops.ReduceSum()  # over an axis of one
        self.frequencies = Tensor(np.exp(np.linspace(0, np.log(30), 8)).astype(np.float32).reshape(1, 8))

    def construct(self, condition, noisy_motion, past_motion, step):
        angle = step * self.frequencies  # [B, 8]
        time = self.step_out(self.relu(self.step_hidden(self.cat((ops.sin(angle), ops.cos(angle))))))
        time = ops.reshape(time, (-1, DENOISER_WIDTH, 1, 1))
        x = self.cat((condition, noisy_motion, past_motion))
        x = ops.reshape(x, (-1, CONDITION + 2 * N_LIFE + 1, 1, FRAMES))
        x = self.relu(self.conv_in(self.splice_in(x)) + time)
        for block in self.blocks:
            x = block(x + time)
        return self.drop_row(self.conv_out(self.splice_out(x)), 2)  # a last reshape the exporter would leave out


def n_parameters(cell: nn.Cell) -> int:
    """Number of trained values of a cell."""
    return sum(int(np.prod(parameter.shape)) for parameter in cell.get_parameters())


def multiplications(cell: nn.Cell, positions: List[Tuple[str, int]]) -> int:
    """Multiply-adds of a cell's convolutions and dense layers for one sample.

    Args:
        cell: The cell.
        positions: (start of a parameter's name, number of places it is applied at).
    """
    total = 0
    for parameter in cell.get_parameters():
        if parameter.name.endswith("weight"):
            at = next((n for prefix, n in positions if parameter.name.startswith(prefix)), FRAMES)
            total += int(np.prod(parameter.shape)) * at
    return total
