"""The texts that the screen can show, and how text and progress bar are drawn: as events of ASS, a subtitle format."""

from typing import Dict, Optional

FONT_NAME = "Noto Sans CJK SC"
LONGEST_NAME = 16.0
"""How much of a job's name is shown, in widths of a Chinese character; that is 24 Latin letters."""

LINES = 720
"""Height of the screen in the units in which text is placed."""

_MARGIN = 40.0
_LEFT_OF_LABEL = 0.72
_PADDING = 9.0  # between a text and the edge of its box
_FONT_SIZE = 38.0  # a line of the font is 1.45 times as high as its Chinese characters

WORDS: Dict[str, Dict[str, str]] = {
    "making": {"zh": "正在生成 {name}  {percent}%", "en": "Making {name}: {percent}%"},
    "listening": {"zh": "请讲话", "en": "Please speak"},
    "recording": {"zh": "正在录音", "en": "Recording"},
    "muted": {"zh": "麦克风已关闭", "en": "The microphone is off"},
    "no_microphone": {"zh": "未检测到麦克风，正在重试", "en": "No microphone found; retrying"},
    "no_camera": {"zh": "未检测到摄像头，将使用默认照片", "en": "No camera found; using the configured portrait"},
    "no_face": {"zh": "未检测到人脸，将使用默认照片", "en": "No face found; using the configured portrait"},
    "no_portrait": {"zh": "没有可用的照片", "en": "No portrait"},
    "snapshot": {"zh": "请看镜头", "en": "Please look at the camera"},
    "snapshot_done": {"zh": "拍照完成", "en": "Done"},
    "failed": {"zh": "生成失败：{name}", "en": "{name} could not be made"},
    "job_waiting": {"zh": "排队 {n} 个", "en": "{n} waiting"},
    "starting": {"zh": "正在启动", "en": "Starting"},
    "disk_full": {"zh": "磁盘空间不足，任务等待中", "en": "Disk full; jobs are waiting"},
    "usb_reading": {"zh": "正在读取 U 盘，请勿拔出", "en": "Reading the USB stick; leave it in"},
    "usb_working": {"zh": "正在处理 U 盘中的任务，请勿拔出", "en": "Processing the USB stick's jobs; leave it in"},
    "usb_writing": {"zh": "正在写入 U 盘，请勿拔出", "en": "Writing to the USB stick; leave it in"},
    "usb_done": {"zh": "现在可以拔出 U 盘", "en": "You can remove the USB stick now"},
    "usb_none": {"zh": "U 盘中没有新任务，可以拔出", "en": "No new jobs on the USB stick; you can remove it"},
    "usb_failed": {"zh": "U 盘读写失败，请检查后重新插入", "en": "USB stick error; check it and plug it in again"},
}
"""Text by key and language. The font must have every character."""


def words(key: str, language: str, **values: object) -> str:
    """The text for a key, in a language; long names are shortened."""
    short = {k: _short(v) if isinstance(v, str) else v for k, v in values.items()}
    return WORDS[key][language].format(**short)


def _short(name: str) -> str:
    if _ems(name) <= LONGEST_NAME:
        return name
    while _ems(name) > LONGEST_NAME - 1:
        name = name[:-1]
    return name + "…"


def _ems(text: str) -> float:
    """Its width, in Chinese characters."""
    return sum(1.0 if ord(c) >= 0x2E80 else 0.65 for c in text)


def overlay(text: str, share: Optional[float], width: float) -> str:
    """Text and progress bar as ASS events.

    They never cover the AI label at the bottom right of the picture: they are above it if the picture fills the height
    of the screen, and left of it if it fills the width. Text that is too long gets a smaller font: libass breaks lines
    only at spaces, and Chinese has none.

    Args:
        text: The text; empty: none.
        share: Progress, 0..1; None: no bar.
        width: Of the screen, in units of which it is `LINES` high.
    """
    room = _LEFT_OF_LABEL * width - _MARGIN
    lines = []
    if share is not None:
        bar = min(400.0, room)
        lines += [_box(_MARGIN, 606, bar, 14, "000000", "50")]
        lines += [_box(_MARGIN + 2, 608, max(1.0, (bar - 4) * min(max(share, 0.0), 1.0)), 10, "FFFFFF", "10")]
    if text:
        size = min(_FONT_SIZE, 1.45 * (room - 2 * _PADDING) / _ems(text))
        style = f"\\an1\\pos({_MARGIN + _PADDING:.0f},588)\\q2\\fn{FONT_NAME}\\fs{size:.1f}"
        lines.append(f"{{{style}\\bord0\\shad{_PADDING:.0f}\\1c&HFFFFFF&\\4c&H101010&\\4a&H60&}}{_escaped(text)}")
    return "\n".join(lines)


def _box(x: float, y: float, width: float, height: float, colour: str, alpha: str) -> str:
    corners = f"m {x:.0f} {y} l {x + width:.0f} {y} l {x + width:.0f} {y + height} l {x:.0f} {y + height}"
    return f"{{\\an7\\pos(0,0)\\bord0\\shad0\\1c&H{colour}&\\1a&H{alpha}&\\4a&HFF&\\p1}}{corners}{{\\p0}}"


def _escaped(text: str) -> str:
    """Text without ASS commands."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    # a backslash followed by an invisible word joiner is a backslash
    return plain.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
