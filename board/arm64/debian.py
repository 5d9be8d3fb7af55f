"""A Debian for arm64 on another machine: the kernel runs each of its programs through qemu-user, which emulates it."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, Sequence, Set

from board.virtual import nspawn, pieces
from board.virtual.pieces import CHECKOUT, NotRun

CACHE = pieces.CACHE.parent / "arm64"
BUILD = CHECKOUT / "build" / "arm64"
ROOT, RESULT = BUILD / "root", BUILD / "result"
SUITE, PYTHON = "bullseye", "3.9"
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "procps", "python3")
"""Packages that a board has before anything is installed on it."""
_MIRROR = f"deb http://deb.debian.org/debian {SUITE} main"
"""Without bullseye-security: packages that it lists are gone from the mirrors."""
CPU = "cortex-a76"
"""The processor of qemu-user 7.2 with a Cortex-A55's instructions: ARMv8.2 with half floats and dot
products, no SVE. The default has every feature, and libraries would run code that runs on no board."""

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_NAME = "sonic-edge-arm64"
# the head of an ELF file: 64 bits, little-endian, a program or a library, for AArch64 (183); as qemu-user-static has it
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"

_HWCAP = {"fp": 0, "asimd": 1, "asimdhp": 10, "asimddp": 20, "sve": 22}
"""Bits of the kernel's AT_HWCAP (arch/arm64/include/uapi/asm/hwcap.h)."""


class Wrong(Exception):
    """A check failed: what was seen is not what is promised."""


@contextlib.contextmanager
def translated() -> Iterator[str]:
    """A context in which the kernel runs arm64 programs; yields what runs them, as text.

    Raises:
        NotRun: If it is not possible here.
    """
    pieces.need("qemu-aarch64-static=qemu-user-static", "arch-test=arch-test", "mmdebstrap=mmdebstrap", *nspawn.NEEDS)
    if _runs():
        yield "as it is"
        return
    register = _BINFMT / "register"
    if not register.exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], check=False, capture_output=True)
    if not register.exists():
        raise NotRun(f"{_BINFMT} cannot be mounted, so no emulator can be registered with this kernel")
    interpreter = shutil.which("qemu-aarch64-static")
    try:
        # F: opened now, so that it need not be in the root
        register.write_text(f":{_NAME}:M::{_MAGIC}:{_MASK}:{interpreter}:F")
    except OSError as e:
        raise NotRun(f"{register}: the kernel accepts no emulator for arm64 programs: {e}") from e
    try:
        if not _runs():
            raise NotRun(f"{interpreter} is registered, but arm64 programs do not run: {_arch_test()}")
        yield f"registered {interpreter} with the kernel"
    finally:
        (_BINFMT / _NAME).write_text("-1")  # forgotten again


def _runs() -> bool:
    return subprocess.run(["arch-test", "arm64"], capture_output=True, check=False).returncode == 0


def _arch_test() -> str:
    return subprocess.run(["arch-test", "arm64"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def make_root() -> str:
    """A board's Debian, as it is before anything is installed on it."""
    command = ["mmdebstrap", "--quiet", "--arch=arm64", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]

    def make(part: Path) -> None:
        subprocess.run([*command, SUITE, str(part / "root.tar"), _MIRROR], check=True, stdin=subprocess.DEVNULL)

    tar = pieces.piece("root", [*command, SUITE, _MIRROR], make, CACHE) / "root.tar"
    pieces.unpack(tar, ROOT)
    return inside("cat", "/etc/debian_version", limit_s=60)


def wheels(kind: str, packages: Sequence[str]) -> Path:
    """A folder of unpacked packages for the board's Python, fetched if missing.

    Args:
        kind: Its name.
        packages: Requirements for pip.
    """
    command = ["download", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    command += ["--platform", "manylinux_2_28_aarch64", "--platform", "manylinux2014_aarch64"]

    def make(part: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *command, "--dest", str(part), *packages], check=True, stdin=subprocess.DEVNULL)
        # unpacked by hand: `pip install --target` takes wheels for this Python, not the board's
        for wheel in part.glob("*.whl"):
            shutil.unpack_archive(str(wheel), str(part), "zip")
            wheel.unlink()

    return pieces.piece(kind, [*command, *packages], make, CACHE)


def is_as_asked() -> str:
    """Processor, Python and network are those of an offline board."""
    machine = inside("uname", "-m", limit_s=60)
    has = features(inside("/bin/true", limit_s=60, LD_SHOW_AUXV="1"))
    if machine != "aarch64" or not {"asimddp", "asimdhp"} <= has or "sve" in has:
        raise Wrong(f"{machine} with {sorted(has)}; aarch64 with asimddp and asimdhp, without sve is needed")
    python = inside("python3", "--version", limit_s=60)
    if not python.startswith(f"Python {PYTHON}."):
        raise Wrong(f"{python}; {PYTHON} is needed")
    networks = interfaces(inside("cat", "/proc/net/dev", limit_s=60))
    if networks != {"lo"}:
        raise Wrong(f"network interfaces {sorted(networks)}; only lo may be there")
    return f"{machine} ({CPU}: {', '.join(sorted(has))}), {python}, no network but lo"


def inside(*words: str, limit_s: float, **variables: str) -> str:
    """Run a program on the board, without a network, and return its output; `RESULT` is its /result.

    Args:
        words: The program and its arguments.
        limit_s: How long it may take.
        variables: Added to its environment.

    Raises:
        Wrong: If it fails or takes too long, with the end of its output; all of it is in ``log.txt``.
    """
    environment: Dict[str, str] = {"QEMU_CPU": CPU, "LANG": "C.UTF-8", **variables}
    command = [*nspawn.command(ROOT), f"--bind={RESULT}:/result", "--pipe"]
    command += [f"--setenv={name}={value}" for name, value in environment.items()]
    with (BUILD / "log.txt").open("a+") as log:
        print("$", *words, file=log, flush=True)
        began = log.tell()
        try:
            done = subprocess.run(
                [*command, *words],
                env=nspawn.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,  # apart from the output: nspawn prints messages of its own
                timeout=limit_s,
                text=True,
                check=False,
            )
            status, said = done.returncode, done.stdout
        except subprocess.TimeoutExpired as e:
            status, said = None, (e.stdout or b"").decode(errors="replace")
        log.write(said)
        log.seek(began)
        if status != 0:
            how = f"took more than {limit_s:g} s" if status is None else f"ended with {status}"
            raise Wrong(f"`{' '.join(words)}` {how}: {log.read().strip()[-800:]}")
    return said.strip()


def features(auxiliary: str) -> Set[str]:
    """Those features of a processor that the libraries ask for.

    Args:
        auxiliary: Output of a program under ``LD_SHOW_AUXV=1``.

    Raises:
        Wrong: If it has no AT_HWCAP.
    """
    for line in auxiliary.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "AT_HWCAP":
            bits = int(value.strip(), 16)
            return {feature for feature, bit in _HWCAP.items() if bits >> bit & 1}
    raise Wrong(f"no AT_HWCAP in {auxiliary[:200]!r}")


def interfaces(proc_net_dev: str) -> Set[str]:
    """The network interfaces that ``/proc/net/dev`` lists."""
    return {line.partition(":")[0].strip() for line in proc_net_dev.splitlines() if ":" in line}
