"""The parts of a face, in the order of their labels."""

PARTS = (
    "background", "hair", "neck", "skin", "brow_l", "brow_r", "eye_l", "eye_r", "nose",
    "upper_lip", "lower_lip", "teeth", "tongue", "cavity", "occluder",
)  # fmt: skip
(BACKGROUND, HAIR, NECK, SKIN, BROW_L, BROW_R, EYE_L, EYE_R, NOSE) = range(9)
(UPPER_LIP, LOWER_LIP, TEETH, TONGUE, CAVITY, OCCLUDER) = range(9, 15)
