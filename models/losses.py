"""Training losses of SonicNet."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from models.life import FACE
from models.network import FRAMES, N_VISEMES, Denoiser, Encoder

ANSWERS_SPREAD = (0.10, 0.11, 0.17, 0.05, 0.05, 0.15, 0.09)
"""A large error of each answer, over the training faces."""
JUMP = 0.3  # weight of the error's own steps


class FaceLoss(nn.Cell):
    """Weighted squared error of the face's answers."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.branch = encoder.face_branch
        self.weight = Tensor(1 / np.array([ANSWERS_SPREAD], np.float32))
        self.mean = ops.ReduceMean()

    def construct(self, image: Tensor, answers: Tensor) -> Tensor:
        """As the class says."""
        error = (self.branch(image) - answers) * self.weight
        return self.mean(error * error)


class LipLoss(nn.Cell):
    """Regression, its speed, closures and visemes."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.trunk = encoder.trunk
        self.heads = encoder.heads
        self.mean = ops.ReduceMean()
        self.sum = ops.ReduceSum()
        self.log_softmax = nn.LogSoftmax(axis=1)
        self.softplus = ops.Softplus()
        self.channel_weight = Tensor(np.array([2, 1, 1, 1, 0.7], np.float32).reshape(1, 5, 1))
        self.rare = Tensor(np.array([0, 0, 4, 4, 4], np.float32).reshape(1, 5, 1))
        viseme_weight = np.ones((1, N_VISEMES, 1), np.float32)
        viseme_weight[0, :3, 0] = 0.6, 1.5, 1.5  # silence is common, lip consonants matter
        self.viseme_weight = Tensor(viseme_weight)
        ends = np.ones((1, 1, FRAMES), np.float32)
        ends[0, 0, :4] = ends[0, 0, -2:] = 0.4  # half of their context is outside the window
        self.ends = Tensor(ends)

    def construct(self, audio: Tensor, lips: Tensor, held: Tensor, visemes: Tensor) -> Tensor:
        """As the class says."""
        raw, closure, logits = self.heads(self.trunk(audio))
        error = raw - lips
        weight = self.channel_weight * (1.0 + self.rare * (lips > 0.4).astype(ms.float32))
        loss = self.mean(error * error * weight * self.ends)
        speed = error[:, :, 1:FRAMES] - error[:, :, 0 : FRAMES - 1]
        loss = loss + 0.3 * self.mean(speed * speed * self.channel_weight)
        # cross-entropy on logits, closures weighted three times as much as openings
        missed = held * 3.0 * self.softplus(-closure) + (1.0 - held) * self.softplus(closure)
        loss = loss + 0.25 * self.mean(missed * self.ends)
        smooth = 0.9 * visemes + 0.1 / N_VISEMES
        entropy = -self.sum(smooth * self.log_softmax(logits) * self.viseme_weight, 1)
        return loss + 0.12 * self.mean(entropy)


class FlowLoss(nn.Cell):
    """Flow matching (Lipman et al. 2023): the velocity from noise to the teacher's motion, where it is not known."""

    def __init__(self, encoder: Encoder, denoiser: Denoiser) -> None:
        super().__init__()
        self.condition = encoder.condition
        self.denoiser = denoiser
        self.mean = ops.ReduceMean()
        self.cat = ops.Concat(axis=1)

    def construct(
        self, features: Tensor, face: Tensor, motion: Tensor, known: Tensor, weight: Tensor, noise: Tensor, step: Tensor
    ) -> Tensor:
        """As the class says; known and weight [B, 1, 40]."""
        condition = self.condition(features, ops.reshape(face, (-1, len(FACE), 1)))
        past = self.cat((motion * known, known))
        t = ops.reshape(step, (-1, 1, 1))
        noisy = noise * (1.0 - t) + motion * t
        error = self.denoiser(condition, noisy, past, step) - (motion - noise)
        # weighting the error's differences too keeps the same optimum; a jump is more visible than an offset
        jump = error[:, :, 1:FRAMES] * (1.0 - known[:, :, 1:FRAMES]) - error[:, :, 0 : FRAMES - 1] * (
            1.0 - known[:, :, 0 : FRAMES - 1]
        )
        return self.mean(error * error * weight) + JUMP * self.mean(jump * jump * weight[:, :, 1:FRAMES])
