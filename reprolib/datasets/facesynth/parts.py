"""The label indices of facesynth."""

# Left and right are those of the picture, as in HELEN's files: `brow_l` lies at smaller x (landmarks 17–21),
# `eye_l` too (36–41). Ears and beards are skin; clothes are background; glasses keep what lies beneath them.
PARTS = (
    "background", "hair", "neck", "skin", "brow_l", "brow_r", "eye_l", "eye_r", "nose",
    "upper_lip", "lower_lip", "teeth", "tongue", "cavity", "occluder",
)  # fmt: skip
(BACKGROUND, HAIR, NECK, SKIN, BROW_L, BROW_R, EYE_L, EYE_R, NOSE) = range(9)
(UPPER_LIP, LOWER_LIP, TEETH, TONGUE, CAVITY, OCCLUDER) = range(9, 15)
