"""What the screen can say, and how it is drawn: words and a bar, as events of ASS (the format of subtitles)."""

from typing import Dict, Optional

FONT_NAME = "Noto Sans CJK SC"
LONGEST_NAME = 16.0
"""How much of a job's name is shown, in Chinese characters; of Latin letters it is half as many again."""

LINES = 720
"""Of the screen, in which words are placed."""

_MARGIN = 40.0
_LEFT_OF_LABEL = 0.72
_PLATE = 9.0  # around words
_FONT_SIZE = 38.0  # a line of the font is 1.45 times as high as its Chinese characters

WORDS: Dict[str, Dict[str, str]] = {
    "making": {"zh": "正在生成 {name}  {percent}%", "en": "Making {name}: {percent}%"},
    "listening": {"zh": "请讲话", "en": "Please speak"},
    "recording": {"zh": "正在录音", "en": "Recording"},
    "muted": {"zh": "麦克风已关闭", "en": "The microphone is off"},
    "no_microphone": {"zh": "未检测到麦克风，正在重试", "en": "No microphone; trying again"},
    "no_camera": {"zh": "未检测到摄像头，将使用默认照片", "en": "No camera; using the configured portrait"},
    "no_face": {"zh": "未检测到人脸，将使用默认照片", "en": "No face found; using the configured portrait"},
    "no_portrait": {"zh": "没有可用的照片", "en": "No portrait"},
    "snapshot": {"zh": "请看镜头", "en": "Please look at the camera"},
    "snapshot_done": {"zh": "拍照完成", "en": "Done"},
    "failed": {"zh": "生成失败：{name}", "en": "{name} could not be made"},
    "job_waiting": {"zh": "排队 {n} 个", "en": "{n} waiting"},
    "starting": {"zh": "正在启动", "en": "Starting"},
    "disk_full": {"zh": "磁盘空间不足，任务等待中", "en": "The disk is full; jobs wait"},
    "usb_reading": {"zh": "正在读取 U 盘，请勿拔出", "en": "Reading the USB stick; leave it in"},
    "usb_working": {"zh": "正在处理 U 盘中的任务，请勿拔出", "en": "Working for the USB stick; leave it in"},
    "usb_writing": {"zh": "正在写入 U 盘，请勿拔出", "en": "Writing to the USB stick; leave it in"},
    "usb_done": {"zh": "现在可以拔出 U 盘", "en": "The USB stick can be pulled out"},
    "usb_none": {"zh": "U 盘中没有新任务，可以拔出", "en": "Nothing new on the stick; it can be pulled"},
    "usb_failed": {"zh": "U 盘读写失败，请检查后重新插入", "en": "USB stick failed; check it, plug it in again"},
}
"""What the screen can say, by key and language. The font must have every character."""


def words(key: str, language: str, **values: object) -> str:
    """What the screen says; names are cut short."""
    short = {k: _short(v) if isinstance(v, str) else v for k, v in values.items()}
    return WORDS[key][language].format(**short)


def _short(name: str) -> str:
    if _ems(name) <= LONGEST_NAME:
        return name
    while _ems(name) > LONGEST_NAME - 1:
        name = name[:-1]
    return name + "…"


def _ems(text: str) -> float:
    """How wide it is, in Chinese characters."""
    return sum(1.0 if ord(c) >= 0x2E80 else 0.65 for c in text)


def overlay(text: str, share: Optional[float], width: float) -> str:
    """Words and bar as ASS events, on a screen so wide and `LINES` high.

    They never cover the AI label, bottom right in the picture: above it where the picture is as high as the screen,
    left of it where it is as wide. Words that are too long become smaller: libass breaks lines at spaces only, and
    Chinese has none.
    """
    room = _LEFT_OF_LABEL * width - _MARGIN
    lines = []
    if share is not None:
        bar = min(400.0, room)
        lines += [_box(_MARGIN, 606, bar, 14, "000000", "50")]
        lines += [_box(_MARGIN + 2, 608, max(1.0, (bar - 4) * min(max(share, 0.0), 1.0)), 10, "FFFFFF", "10")]
    if text:
        size = min(_FONT_SIZE, 1.45 * (room - 2 * _PLATE) / _ems(text))
        place = f"\\an1\\pos({_MARGIN + _PLATE:.0f},588)\\q2\\fn{FONT_NAME}\\fs{size:.1f}"
        lines.append(f"{{{place}\\bord0\\shad{_PLATE:.0f}\\1c&HFFFFFF&\\4c&H101010&\\4a&H60&}}{_escaped(text)}")
    return "\n".join(lines)


def _box(x: float, y: float, width: float, height: float, colour: str, through: str) -> str:
    corners = f"m {x:.0f} {y} l {x + width:.0f} {y} l {x + width:.0f} {y + height} l {x:.0f} {y + height}"
    return f"{{\\an7\\pos(0,0)\\bord0\\shad0\\1c&H{colour}&\\1a&H{through}&\\4a&HFF&\\p1}}{corners}{{\\p0}}"


def _escaped(text: str) -> str:
    """Text in which nothing is an instruction to ASS."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    # a backslash followed by an invisible word joiner is a backslash
    return plain.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
