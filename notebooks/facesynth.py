# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # facesynth
#
# All studies of this book share one renderer of faces. A 3-D template of the 68 landmarks gets an identity, an
# expression and a pose. The renderer then adds skin, lips close to skin and tongue in colour, hair, beard, glasses,
# make-up, light, a camera and occluders. Every image comes with exact labels, and depends on its seed and number alone.

# %% tags=["parameters", "remove-cell"]
profile: str = "gpu"  # the images are the same in every profile
seed: int = 7  # which series of faces is shown

# %% tags=["remove-cell"]
from reprolib.parameters import check_notebook

check_notebook("facesynth")

# %% tags=["remove-cell"]
import re

import cv2
import numpy as np
from IPython.display import HTML, Image, display

from reprolib.datasets import facesynth


def show(picture, width):
    """Display uint8 (H, W, 3) as JPEG, small enough for a page."""
    jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    display(Image(jpeg, format="jpeg", width=width))


# %% [markdown]
# ## Do they look like faces?
#
# Sixty-four faces in the order of their numbers, not selected. They are hard on purpose: overlapping colours,
# hard shadows, blur, and hidden parts.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sheet of 64 rendered faces", "width": "100%"}}
show(facesynth.sheet(seed, rows=8, cols=8, size=96), width=768)

# %% [markdown]
# ## What is labelled?
#
# The same faces, every pixel in the colour of its part.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Part labels of the same faces", "width": "100%"}}
show(facesynth.label_sheet(seed, rows=8, cols=8, size=96), width=768)

# %% tags=["remove-input"]
swatch = '<span style="white-space: nowrap"><span style="background: rgb{}; padding: 0 0.7em; '
swatch += 'border: 1px solid #888"></span> {}</span>'
legend = [
    swatch.format(
        tuple(int(v) for v in colour), re.sub("_l$", " left", re.sub("_r$", " right", part)).replace("_", " ")
    )
    for part, colour in zip(facesynth.PARTS, facesynth.COLOURS, strict=True)
]
display(HTML("&ensp; ".join(legend)))

# %% [markdown]
# ## How are faces occluded?
#
# Hands, microphones, scarves, cups and textured objects. Each comes with its own mask, and the labels beneath it are
# kept, so that a study can ask for either.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Faces with occluders, their labels, and the labels beneath", "width": "100%"}}
options = facesynth.FaceOptions(occluder=1.0)
faces = [facesynth.render(seed, number, size=128, options=options) for number in range(8)]
rows = [
    [face.image for face in faces],
    [facesynth.COLOURS[face.labels] for face in faces],
    [facesynth.COLOURS[face.unoccluded_labels] for face in faces],
]
show(np.vstack([np.hstack(row) for row in rows]), width=768)

# %% [markdown]
# ## Where are the landmarks?
#
# The 68 points of the usual scheme, exact also where a hand hides them.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Rendered faces with 68 landmarks drawn on them", "width": "100%"}}
marked = []
for number in range(8, 12):
    face = facesynth.render(seed, number, size=256)
    picture = face.image.copy()
    for x, y in face.landmarks:
        cv2.circle(picture, (round(float(x)), round(float(y))), 2, (90, 255, 90), -1, cv2.LINE_AA)
    marked.append(picture)
show(np.hstack(marked), width=768)

# %% [markdown]
# ## How do they move?
#
# One face says *please open the blue door*: pose, expression and light follow smooth tracks, and the lips follow the
# sounds, each beginning before the last one has ended. Words that look alike on the lips are rendered alike, and
# stay ambiguous, as they are for a lip reader: *bat*, *mat* and *pan* look the same.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sixteen frames of a talking face, each above its part labels", "width": "100%"}}
clip = facesynth.speak("please open the blue door", seed, 3, size=128)
chosen = np.linspace(0, len(clip.images) - 1, 16).round().astype(int)
strips = [clip.images[chosen], facesynth.COLOURS[clip.labels[chosen]]]
show(np.vstack([np.hstack(strip[half : half + 8]) for half in (0, 8) for strip in strips]), width=768)
