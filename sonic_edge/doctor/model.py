"""Checks of what makes the videos: model bundle, backend, face networks, encoder, portrait, label."""

import time
from pathlib import Path
from typing import Iterator

from ..config import share_dir
from ..errors import ConfigError, DeviceError, RequestError
from ..hardware import machine
from .finding import Context, Finding, failed, not_checked, ok, warning

_NEEDED_MB = 600
_INSTALL = "install the package again: its files are missing or damaged"


def bundle(context: Context) -> Iterator[Finding]:
    """The model's files, against their hashes."""
    from ..model.bundle import Bundle
    from ..model.store import remedy_for, resolve

    settings = context.config.model
    store = Path(settings.store).absolute()
    try:
        folder = resolve(settings.bundle, store).folder
    except ConfigError as e:
        yield failed(str(e), "`sonic-edge model list` lists the bundles, `sonic-edge model use NAME` chooses one")
        return
    try:
        found = Bundle(folder)
        stages = [found.stage(name, settings.backend) for name in found.spec.stages]
    except ConfigError as e:
        for line in str(e).splitlines():
            yield failed(line, remedy_for(folder, store))
        return
    n_mb = sum(stage.path.stat().st_size for stage in stages) / 1e6
    yield ok(
        f"{found.spec.name} {found.spec.version} for {settings.backend}: {len(stages)} files, {n_mb:.1f} MB, all "
        "hashes match"
    )


def backend(context: Context) -> Iterator[Finding]:
    """Load everything as the worker does, within the worker's memory limit, and run the model on one window."""
    free, total = machine.free_memory_mb()
    if total and free < _NEEDED_MB:
        yield not_checked(
            f"only {free:.0f} MB of memory are free; loading the model beside the running programs needs {_NEEDED_MB}"
        )
        return
    from ..process import limit_resources

    settings = context.config.model
    limit_resources(context.config.worker.memory_mb)
    since = time.monotonic()
    try:
        from ..engine.pipeline import Pipeline

        with Pipeline(context.config) as pipeline:
            loaded_s = time.monotonic() - since
            window_s, heard_s = pipeline.warm_up()
    except ImportError as e:
        yield failed(f"{settings.backend}: {e}", _INSTALL)
        return
    except (ConfigError, DeviceError) as e:
        for line in str(e).splitlines():
            remedy = _INSTALL if settings.backend == "cpu" else "follow the message; docs/CHIP.md helps"
            yield failed(f"{settings.backend}: {line}", f"nothing can be rendered until this is fixed; {remedy}")
        return
    summary = (
        f"{settings.backend}: loaded in {loaded_s:.1f} s; one window of {heard_s:.2g} s in {1000 * window_s:.0f} ms"
    )
    if window_s > heard_s:
        yield warning(
            f"{summary}, slower than speech", "stop other programs; see model.threads; live mode cannot keep up"
        )
    else:
        yield ok(summary)


def result(context: Context) -> Iterator[Finding]:
    """Whether the model's output on this machine agrees with the bundle's reference."""
    from ..engine.load import compare_with_reference, describe_worst
    from ..model.store import find_bundle

    settings = context.config.model
    try:
        found = find_bundle(settings.bundle, Path(settings.store))
        if found.spec.reference is None:
            yield not_checked(f"{found.folder}: bundle.yaml names no reference; models/README.md says how to make one")
            return
        since = time.monotonic()
        agreements = compare_with_reference(found, settings)
    except ImportError as e:
        yield failed(f"{settings.backend}: {e}", _INSTALL)
        return
    except (ConfigError, DeviceError) as e:
        for line in str(e).splitlines():
            yield failed(line, "videos would have wrong motion; use another model or backend, and report this to us")
        return
    yield ok(f"{settings.backend}: {describe_worst(agreements)}; {time.monotonic() - since:.1f} s")


def faces(_: Context) -> Iterator[Finding]:
    """The networks that find faces and landmarks."""
    from ..engine.portrait import FaceFinder

    since = time.monotonic()
    try:
        FaceFinder(share_dir() / "face")
    except ConfigError as e:
        yield failed(str(e), _INSTALL)
        return
    yield ok(f"4 networks in {share_dir() / 'face'} loaded in {time.monotonic() - since:.1f} s")


def encoder(context: Context) -> Iterator[Finding]:
    """The video encoder, tried out as it is before the first job."""
    from ..engine.encode import try_encoder

    settings, side, fps = context.config.encode, context.config.controls.min_resolution, context.config.controls.fps
    try:
        took_s = try_encoder(settings, side, fps)
    except ConfigError as e:
        yield failed(str(e), "nothing can be rendered until this is fixed; docs/VIDEO.md helps")
        return
    except DeviceError as e:
        yield failed(str(e), "make it work, or use libx264, which needs no device; docs/VIDEO.md helps")
        return
    summary = f"{settings.encoder}: {side}x{side} pixels, {1000 * took_s:.1f} ms a picture"
    if took_s * fps > 1:
        yield warning(f"{summary}, slower than {fps} pictures a second", "videos take long; see encode.preset")
    else:
        yield ok(summary)


def portrait(context: Context) -> Iterator[Finding]:
    """The photo that speaks a recording without a photo."""
    if context.config.spool.portrait is None:
        yield ok("spool.portrait is not set: a recording without a photo is refused")
        return
    from ..engine.portrait import FaceFinder, make_portrait, read_image

    path = Path(context.config.spool.portrait)
    other = "put a readable photo of one face there, or name another one in spool.portrait"
    try:
        image = read_image(path, context.config.limits)
        made = make_portrait(image, FaceFinder(share_dir() / "face"), context.config.controls, path.name)
    except ConfigError as e:
        yield not_checked(str(e))
        return
    except RequestError as e:
        yield failed(f"spool.portrait = {path} for {context.user}: {e}", other)
        return
    for words in made.warnings:
        yield warning(f"spool.portrait: {words}", "use another photo if the videos look wrong")
    if not made.warnings:
        height, width = image.shape[:2]
        yield ok(f"spool.portrait: {width}x{height} pixels, one face found")


def label(context: Context) -> Iterator[Finding]:
    """The mark on every picture, and its font."""
    from ..engine.fonts import FONT
    from ..engine.label import Label, aigc_metadata

    settings, side = context.config.label, context.config.controls.min_resolution
    try:
        Label(side, side, settings)
        aigc_metadata(settings.producer, "")
    except ConfigError as e:
        yield failed(str(e), "without the label no video is published; correct the section label of the settings")
        return
    if not FONT.is_file():
        yield failed(f"{FONT}: is missing; the screen's words need it", _INSTALL)
    yield ok(f"the font has every character of {settings.text}")
    if not settings.producer:
        yield warning(
            "label.producer is empty: the videos do not name their producer",
            "set it to your code as a provider of generated content (GB 45438-2025)",
        )
