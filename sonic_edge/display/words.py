"""What the screen can say, and how it is drawn: words and a bar, as events of ASS (the format of subtitles)."""

from pathlib import Path
from typing import Dict, Optional

FONT = Path(__file__).parent.parent / "fonts" / "label.otf"
FONT_NAME = "Noto Sans CJK SC"
LONGEST_NAME = 24
"""Characters of a job's name that are shown."""

WORDS: Dict[str, Dict[str, str]] = {
    "making": {"zh": "正在生成 {name}  {percent}%", "en": "Making {name}: {percent}%"},
    "listening": {"zh": "请讲话", "en": "Please speak"},
    "recording": {"zh": "正在录音", "en": "Recording"},
    "muted": {"zh": "麦克风已关闭", "en": "The microphone is off"},
    "no_microphone": {"zh": "没有找到麦克风，正在重试", "en": "No microphone; trying again"},
    "no_camera": {"zh": "没有找到摄像头，使用默认照片", "en": "No camera; using the configured portrait"},
    "no_face": {"zh": "没有找到人脸，使用默认照片", "en": "No face found; using the configured portrait"},
    "no_portrait": {"zh": "没有照片", "en": "No portrait"},
    "snapshot": {"zh": "请看镜头", "en": "Please look at the camera"},
    "snapshot_done": {"zh": "拍好了", "en": "Done"},
    "failed": {"zh": "未能生成 {name}", "en": "{name} could not be made"},
    "starting": {"zh": "正在启动", "en": "Starting"},
}
"""What the screen can say, by key and language. The font must have every character."""


def words(key: str, language: str, **values: object) -> str:
    """What the screen says; names are cut short."""
    short = {
        k: v[: LONGEST_NAME - 1] + "…" if isinstance(v, str) and len(v) > LONGEST_NAME else v for k, v in values.items()
    }
    return WORDS[key][language].format(**short)


def overlay(text: str, share: Optional[float]) -> str:
    """Words and bar as ASS events in 720 lines: in the lower third, above the corner with the AI label."""
    lines = []
    if share is not None:
        lines += [_box(40, 606, 400, 14, "000000", "50")]
        lines += [_box(42, 608, max(1.0, 396 * min(max(share, 0.0), 1.0)), 10, "FFFFFF", "10")]
    if text:
        style = f"\\an1\\pos(40,596)\\fn{FONT_NAME}\\fs38\\bord2.5\\shad0\\1c&HFFFFFF&\\3c&H202020&\\q2"
        lines.append(f"{{{style}}}{_escaped(text)}")
    return "\n".join(lines)


def _box(x: float, y: float, width: float, height: float, colour: str, through: str) -> str:
    corners = f"m {x:.0f} {y} l {x + width:.0f} {y} l {x + width:.0f} {y + height} l {x:.0f} {y + height}"
    return f"{{\\an7\\pos(0,0)\\bord0\\shad0\\1c&H{colour}&\\1a&H{through}&\\p1}}{corners}{{\\p0}}"


def _escaped(text: str) -> str:
    """Text in which nothing is an instruction to ASS."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    # a backslash followed by an invisible word joiner is a backslash
    return plain.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
