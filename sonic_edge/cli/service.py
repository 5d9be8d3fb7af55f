"""``sonic-edge run``, and the commands that prepare it: check-config, devices."""

import argparse

from .options import Commands, add_command


def add(commands: Commands) -> None:
    """Add the commands."""
    add_command(
        commands, "run", _run, "run the daemon", "Run the daemon: do the jobs in the inbox until it is stopped."
    )
    add_command(
        commands,
        "check-config",
        _check_config,
        "check a configuration",
        "List every mistake in a configuration, or print the values in effect as a commented file.",
    )
    devices = commands.add_parser(
        "devices",
        help="list microphones, loudspeakers and cameras",
        description="List the devices that microphone.device, speaker.device and camera.device can name.",
    )
    devices.set_defaults(command=_devices)


def _run(args: argparse.Namespace) -> int:
    from ..config import load_config

    config = load_config(args.config)

    from ..service.daemon import run

    return run(config, args.config)


def _devices(args: argparse.Namespace) -> int:
    from ..live.capture import cameras, input_devices, output_devices

    for kind, found in (("microphone", input_devices()), ("speaker", output_devices()), ("camera", cameras())):
        for name in found or ["none found"]:
            print(f"{kind:<11} {name}")
    return 0


def _check_config(args: argparse.Namespace) -> int:
    from ..config import commented_yaml, load_config

    print(commented_yaml(load_config(args.config)), end="")
    return 0
