"""facesynth: faces from a parametric renderer, with exact part labels and landmarks."""

from .occluders import paste_occluder
from .parts import PARTS
from .scene import Face, FaceOptions, mouth_crop, render
from .sheets import COLOURS, label_sheet, sheet

__all__ = ["COLOURS", "PARTS", "Face", "FaceOptions", "label_sheet", "mouth_crop", "paste_occluder", "render", "sheet"]
