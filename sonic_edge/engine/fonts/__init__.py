"""The bundled font, which has every character of the label, the contact sheets and the texts on the screen."""

from pathlib import Path

FONT = Path(__file__).with_name("label.otf")
