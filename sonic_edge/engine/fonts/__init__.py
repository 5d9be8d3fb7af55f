"""The product's own font: every character of the label, of contact sheets and of the screen's words."""

from pathlib import Path

FONT = Path(__file__).with_name("label.otf")
