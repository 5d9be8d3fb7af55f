"""Loads a model from its bundle: opens its graphs on the configured backend, and checks what they compute."""

import time
from contextlib import ExitStack
from typing import Callable, Dict, List, NamedTuple

import numpy as np

from ..config import ModelSettings
from ..errors import ConfigError
from ..media import FloatArray
from ..model.backends.base import Backend, Session, Tensors
from ..model.bundle import Bundle, Stage
from ..model.reference import GAINS, Agreement, compare
from ..model.spec import FramesSpec
from .frames.performer import FramesPerformer
from .motion.performer import MotionPerformer
from .performer import Performer


def open_model(
    bundle: Bundle,
    model: ModelSettings,
    stack: ExitStack,
    wrapped: Callable[[Stage, Session], Session] = lambda stage, session: session,
) -> Performer:
    """Open a bundle's stages on the configured backend; the stack closes them.

    Raises:
        ConfigError: If the bundle has no file for the backend, or a file does not match its hash.
        DeviceError: If the backend cannot open them.
    """
    opened = _opener(bundle, model, stack, wrapped)
    if isinstance(bundle.spec, FramesSpec):
        return FramesPerformer(bundle, opened("painter"))
    return MotionPerformer(bundle, opened("encoder"), opened("denoiser"))


def describe_worst(agreements: List[Agreement]) -> str:
    """Name the output that agrees least with the reference, as text for a message."""
    worst = min(agreements, key=lambda one: one.r)
    return f"as the bundle's reference: r {worst.r:.4f} or better ({worst.output} of {worst.stage})"


class Trial(NamedTuple):
    """The result of a trial run of a model."""

    took_s: float
    """Time of the run without loading, seconds."""
    heard_s: float
    """Amount of speech that one run covers, seconds."""
    agreements: List[Agreement]
    """How well each output agrees with the bundle's reference; empty if it has none."""


def try_bundle(bundle: Bundle, model: ModelSettings) -> Trial:
    """Run a bundle's model once on silence, as a job would, and on its reference.

    Args:
        bundle: The bundle; it need not be the configured one.
        model: The settings of the backend.

    Raises:
        ConfigError: As `open_model`; or if an output is not finite, or does not agree with the reference.
        DeviceError: If the backend cannot open or run it.
    """
    with ExitStack() as stack:
        performer = open_model(bundle, model, stack, FiniteSession)
        since = time.monotonic()
        performer.warm_up()
        took_s = time.monotonic() - since
    agreements = compare_with_reference(bundle, model) if bundle.spec.reference else []
    return Trial(took_s, performer.window_s, agreements)


def compare_with_reference(bundle: Bundle, model: ModelSettings) -> List[Agreement]:
    """Compare what this machine computes with the bundle's reference.

    Raises:
        ConfigError: As `open_model`; if the bundle has no reference; or if an output does not agree with it.
        DeviceError: If the backend cannot open or run it.
    """
    with ExitStack() as stack:
        found = compare(bundle, _opener(bundle, model, stack, lambda stage, session: session))
    least = bundle.spec.reference.least_r if bundle.spec.reference else 0.0
    wrong = [one for one in found if not one.holds(least)]
    if wrong:
        outputs = ", ".join(f"{one.output} of {one.stage} r {one.r:.3f}, gain {one.gain:.2f}" for one in wrong)
        raise ConfigError(
            f"{bundle.folder}: {model.backend} computes something else than the bundle's reference says: {outputs}; "
            f"r of at least {least:g} and a gain of {GAINS[0]:g} to {GAINS[1]:g} are needed"
        )
    return found


def _opener(
    bundle: Bundle, model: ModelSettings, stack: ExitStack, wrapped: Callable[[Stage, Session], Session]
) -> Callable[[str], Session]:
    """Returns a function that opens a stage by name; the stack closes the stages."""
    backend = _backend(model, bundle)

    def opened(name: str) -> Session:
        stage = bundle.stage(name, backend.name)
        session = backend.open(stage)
        stack.callback(session.close)
        return wrapped(stage, session)

    return opened


def _backend(model: ModelSettings, bundle: Bundle) -> Backend:
    """The configured backend; only this one is imported."""
    if model.backend == "cpu":
        from ..model.backends.cpu import CpuBackend

        return CpuBackend(model.threads)
    if model.backend == "acl":
        from ..model.backends.acl import AclBackend

        return AclBackend(model.device_id)
    from ..model.backends.mindspore_lite import MindSporeLiteBackend
    from ..model.backends.om_config import how_to_wrap

    for name, stage in bundle.spec.stages.items():
        if model.backend not in stage.files and "acl" in stage.files:
            raise ConfigError(how_to_wrap(bundle.stage(name, "acl")))
    return MindSporeLiteBackend(model.device_id, model.precision, model.provider, model.threads)


class FiniteSession:
    """A session that checks that all outputs are finite.

    Args:
        stage: The stage that the session runs.
        session: The session that does the work.
    """

    def __init__(self, stage: Stage, session: Session) -> None:
        self._stage = stage
        self._session = session

    def run(self, inputs: Tensors) -> Dict[str, FloatArray]:
        """See `backends.base.Session.run`; raises ConfigError if a value of an output is not finite."""
        outputs = self._session.run(inputs)
        for name, array in outputs.items():
            n_wrong = int(array.size - np.isfinite(array).sum())
            if n_wrong:
                raise ConfigError(
                    f"{self._stage.path}: output {name}: {n_wrong} of {array.size} values are not finite numbers; "
                    "convert the model again, with more precision where it overflows"
                )
        return outputs

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        self._session.close()
