"""Resamples sound block by block, without discontinuities between blocks."""

from typing import Any, Optional

import av
import numpy as np

from ...media import FloatArray


class Resampler:
    """Resamples mono sound. Sample 0 stays at time 0; the filter always holds back a little sound.

    Args:
        rate_in: Input rate, Hz.
        rate_out: Output rate, Hz.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._rate_in, self._rate_out = rate_in, rate_out
        self._n_in = self._n_out = 0
        self._resampler: Optional[Any] = None
        if rate_in != rate_out:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_out)

    @property
    def behind_s(self) -> float:
        """How much sound the filter holds back, seconds."""
        return self._n_in / self._rate_in - self._n_out / self._rate_out

    def push(self, samples: FloatArray) -> FloatArray:
        """Add samples, [n]; returns those that are ready, [m]."""
        if self._resampler is None:
            return samples
        self._n_in += len(samples)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="flt", layout="mono")
        frame.sample_rate = self._rate_in
        made = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        out: FloatArray = np.concatenate(made) if made else np.zeros(0, np.float32)
        self._n_out += len(out)
        return out
