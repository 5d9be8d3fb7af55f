"""From one sample rate to another, piece by piece, without seams."""

from typing import Any, Optional

import av
import numpy as np

from ...media import FloatArray


class Resampler:
    """Mono sound at another rate. Sample 0 stays sample 0; some sound is always still on its way.

    Args:
        rate_in: Of what goes in, Hz.
        rate_out: Of what comes out, Hz.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._rate_in, self._rate_out = rate_in, rate_out
        self._n_in = self._n_out = 0
        self._resampler: Optional[Any] = None
        if rate_in != rate_out:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_out)

    @property
    def behind_s(self) -> float:
        """How much more has gone in than has come out, seconds."""
        return self._n_in / self._rate_in - self._n_out / self._rate_out

    def push(self, samples: FloatArray) -> FloatArray:
        """Take samples [n], give those that are ready [m]."""
        if self._resampler is None:
            return samples
        self._n_in += len(samples)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="flt", layout="mono")
        frame.sample_rate = self._rate_in
        made = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        out: FloatArray = np.concatenate(made) if made else np.zeros(0, np.float32)
        self._n_out += len(out)
        return out
