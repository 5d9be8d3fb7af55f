"""Tier 2: Debian's own kernel in QEMU, with a camera, a microphone, a screen, a loudspeaker and a USB socket."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, TextIO

from board.virtual import nspawn, pieces
from board.virtual.follow import Tell, bake_in, follow
from board.virtual.pieces import BUILD, CHECKOUT, NotRun

_PROGRAMS = ("qemu-system-x86_64=qemu-system-x86", "mke2fs=e2fsprogs", "mkfs.vfat=dosfstools", "mcopy=mtools")
_KVM_S = 20.0
_INSIDE = "/opt/board-test"
_FILES = {
    # a camera that shows what is written to /dev/video1; a sound card whose output is looped to its own microphone
    "etc/modprobe.d/board-test.conf": "options vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1"
    " output_types=1\noptions snd-aloop id=Loopback index=5\n",
    "etc/modules-load.d/board-test.conf": "vivid\nsnd-aloop\n9pnet_virtio\n",
    "etc/asound.conf": 'pcm.!default { type plug; slave.pcm "hw:Intel,0" }\n',
    "etc/fstab": "result /result 9p noauto,trans=virtio,version=9p2000.L,msize=262144 0 0\n",
    # the device may appear after its driver, and a mount unit does not wait for it
    "etc/systemd/system/share.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=90\n"
    "ExecStart=/bin/sh -c 'until mount /result; do sleep 1; done'\n",
    "etc/systemd/system/board-test.service.d/share.conf": "[Unit]\nRequires=share.service\nAfter=share.service\n",
}
_STICK_AT = 1 << 20  # of its only partition


def run(tell: Tell) -> bool:
    """Make the board, boot it, and print each line of its checks.

    Returns:
        Whether all that ran passed.

    Raises:
        NotRun: If this machine cannot do it.
    """
    if os.uname().machine != "x86_64":
        raise NotRun(f"this machine is {os.uname().machine}; the board made here is x86_64")
    pieces.need(*nspawn.NEEDS, "sfdisk=fdisk", *_PROGRAMS)
    work = BUILD / "tier2"
    shutil.rmtree(work, ignore_errors=True)
    root, result = work / "root", work / "result"
    result.mkdir(parents=True)
    carried = pieces.bundle(work / "stick")
    pieces.unpack(pieces.root("tier2"), root)
    nspawn.must_start(root)
    _furnish(root, work / "stick", carried)
    for name in ("vmlinuz", "initrd.img"):
        (found,) = (root / "boot").glob(f"{name}-*")
        shutil.copy(found, work / name)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(work / "root.img"), "4G"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _make_stick(work / "stick.img", root / _INSIDE[1:], work)
    shutil.rmtree(root)
    accelerator = ["-accel", "kvm", "-cpu", "host"] if _kvm_boots(work) else ["-accel", "tcg,thread=multi", "-cpu"]
    if accelerator[1] != "kvm":
        # QEMU 7.2 emulates AVX2's gather wrongly for reversed arrays: numpy crashes
        accelerator.append("max,avx2=off")
    version = subprocess.check_output(["qemu-system-x86_64", "--version"]).decode().splitlines()[0]
    tell(f"        {accelerator[1]}; {version}")
    with (work / "qemu.txt").open("wb") as said:
        board = subprocess.Popen(
            _command(work, accelerator), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
    hands = _Hands(work)
    try:
        passed = follow(board, result, tell, boot_s=300, all_s=2400, serve=hands.serve)
    finally:
        hands.close()
    (work / "root.img").unlink()
    return passed


def _furnish(root: Path, stick: Path, carried: str) -> None:
    """Install the product, its settings and the files of the checks, as far as this needs no running kernel."""
    shutil.copytree(CHECKOUT / "board/virtual/inside", root / _INSIDE[1:])
    for name, text in _FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "result").mkdir()
    for unit in ("serial-getty@ttyS0.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "etc/sonic-edge").mkdir()
    shutil.copy(CHECKOUT / "board/virtual/inside/tier2.yaml", root / "etc/sonic-edge/sonic-edge.yaml")
    install = f"cd /tmp && tar -xf /stick/{carried}.tar && {carried}/install.sh && rm -r {carried}"
    nspawn.inside(root, "sh", "-c", install, binds={stick: "/stick"})
    python = "/opt/sonic-edge/current/bin/python"
    nspawn.inside(root, python, f"{_INSIDE}/material.py", _INSIDE)
    bake_in(root, python, f"{_INSIDE}/tier2.py")


def _make_stick(image: Path, material: Path, work: Path) -> None:
    """A USB stick as people have them: one FAT partition, with a lesson on it."""
    with image.open("wb") as stick:
        stick.truncate(64 << 20)
    subprocess.run(["sfdisk", "--quiet", str(image)], input=f"{_STICK_AT // 512},,c\n".encode(), check=True)
    blocks = ((64 << 20) - _STICK_AT) // 1024
    subprocess.run(
        ["mkfs.vfat", "-F", "32", "-n", "LESSON", f"--offset={_STICK_AT // 512}", str(image), str(blocks)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    lesson = work / "lesson"
    lesson.mkdir()
    shutil.copy(material / "short.wav", lesson / "第二课.wav")
    shutil.copy(material / "portrait.jpg", lesson / "第二课.jpg")
    _mtools("mcopy", image, *sorted(lesson.iterdir()), "::")


def _mtools(program: str, image: Path, *arguments: object) -> None:
    command = [program, "-i", f"{image}@@{_STICK_AT}", *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL)


def _kvm_boots(work: Path) -> bool:
    """Whether a kernel boots under KVM until it misses its root; on some machines it hangs."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-display", "none", "-nodefaults"]
    command += ["-no-reboot", "-serial", "stdio", "-kernel", str(work / "vmlinuz"), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_KVM_S
        )
    except subprocess.TimeoutExpired:
        return False
    return b"Kernel panic" in done.stdout


def _command(work: Path, accelerator: List[str]) -> List[str]:
    kernel = "root=/dev/vda rw console=ttyS0 panic=-1 quiet tsc=reliable mitigations=off"
    return [
        *["qemu-system-x86_64", *accelerator, "-machine", "q35,hpet=off", "-m", "3072", "-smp", "2"],
        *["-display", "none", "-net", "none", "-vga", "std", "-no-reboot"],
        *["-kernel", str(work / "vmlinuz"), "-initrd", str(work / "initrd.img"), "-append", kernel],
        *["-drive", f"file={work / 'root.img'},if=virtio,format=raw,cache=unsafe"],
        *["-audiodev", f"wav,id=a0,path={work / 'result/sound.wav'}", "-device", "intel-hda"],
        # with its timer, half of the sound is lost on a busy machine
        *["-device", "hda-output,audiodev=a0,use-timer=off", "-device", "qemu-xhci,id=usb"],
        *["-virtfs", f"local,path={work / 'result'},mount_tag=result,security_model=none"],
        *["-serial", f"file:{work / 'console.txt'}", "-qmp", f"unix:{_socket(work)},server=on,wait=off"],
    ]


def _socket(work: Path) -> str:
    """A socket's address is limited to 107 bytes, and a checkout's path may be longer."""
    return f"/tmp/board-test-{hashlib.sha256(str(work).encode()).hexdigest()[:8]}.sock"


class _Hands:
    """Actions from outside that the board asks for: take a screenshot, plug the stick in, pull it out.

    Its checks put a question into ``ask.json`` and wait for ``answer.json``.

    Args:
        work: The board's folder.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._result = work / "result"
        self._line: Optional[TextIO] = None
        self._doings: Dict[str, Callable[..., Dict[str, str]]] = {
            "look": self._look,
            "plug": self._plug,
            "pull": self._pull,
        }

    def serve(self) -> None:
        """Answer a request, if there is one."""
        ask = self._result / "ask.json"
        if not ask.exists():
            return
        question: Dict[str, Any] = json.loads(ask.read_text())
        ask.unlink()
        try:
            answer = self._doings[question.pop("do")](**question)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as e:
            answer = {"error": str(e)}
        part = self._result / "answer.part"
        part.write_text(json.dumps(answer))
        part.rename(self._result / "answer.json")

    def close(self) -> None:
        """Let go."""
        if self._line is not None:
            self._line.close()
        Path(_socket(self._work)).unlink(missing_ok=True)

    def _look(self, name: str, n: int, every_s: float) -> Dict[str, str]:
        """Take screenshots: ``name-0.png`` ..."""
        for number in range(n):
            self._say("screendump", filename=str(self._result / f"{name}-{number}.png"), format="png")
            time.sleep(every_s)
        return {}

    def _plug(self) -> Dict[str, str]:
        stick = {"driver": "file", "filename": str(self._work / "stick.img")}
        self._say("blockdev-add", driver="raw", file=stick, **{"node-name": "stick"})
        self._say("device_add", driver="usb-storage", drive="stick", id="stick", bus="usb.0", removable=True)
        return {}

    def _pull(self) -> Dict[str, str]:
        """The stick's files after pulling it: names and their SHA-256."""
        self._say("device_del", id="stick")
        time.sleep(2.0)
        self._say("blockdev-del", **{"node-name": "stick"})
        found = self._work / "found"
        found.mkdir()
        _mtools("mcopy", self._work / "stick.img", "-s", "::", found)
        files = [f for f in found.rglob("*") if f.is_file()]
        return {str(f.relative_to(found)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    def _say(self, command: str, **arguments: object) -> None:
        """A command of the QEMU Machine Protocol."""
        if self._line is None:
            talk = socket.socket(socket.AF_UNIX)
            talk.connect(_socket(self._work))
            self._line = talk.makefile("rw")
            self._line.readline()  # its greeting
            self._say("qmp_capabilities")
        self._line.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._line.flush()
        while True:
            said = json.loads(self._line.readline())
            if "error" in said:
                raise RuntimeError(f"{command}: {said['error']['desc']}")
            if "return" in said:
                return
