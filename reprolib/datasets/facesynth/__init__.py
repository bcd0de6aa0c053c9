"""facesynth: faces from a parametric renderer, with exact part labels and landmarks.

Left and right are as seen in the image, as in HELEN: landmarks 17–21 are `brow_l`, 36–41 `eye_l`. Ears and beards are
skin, clothes are background, glasses keep the labels beneath them. Hair is labelled as a region, not by strands.
Every sample is a function of (seed, index) and its options alone; `person` fixes identity and appearance.
"""

from .lexicon import LEXICON, viseme_classes
from .occluders import paste_occluder
from .parts import PARTS
from .scene import Face, FaceOptions, mouth_crop, render
from .sheets import COLOURS, label_sheet, sheet
from .video import Clip, Delivery, speak, speak_closely, video

__all__ = [
    "COLOURS",
    "LEXICON",
    "PARTS",
    "Clip",
    "Delivery",
    "Face",
    "FaceOptions",
    "label_sheet",
    "mouth_crop",
    "paste_occluder",
    "render",
    "sheet",
    "speak",
    "speak_closely",
    "video",
    "viseme_classes",
]
