"""The commands for a user's own photos and videos: lips, parse, masks, mouths, synth, train and export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()

Images = Annotated[list[str], typer.Argument(help="Photos, videos, folders of them, or patterns such as '*.jpg'.")]
Out = Annotated[Path, typer.Option(help="The folder for NAME_mask.png, NAME_overlay.png and classes.json.")]
Faces = Annotated[
    Literal["all", "largest"],
    typer.Option("--face", help="all: every face down to a third of the largest; largest: only that one."),
]
FacesJson = Annotated[
    bool, typer.Option("--json", help="Also write NAME_faces.json: boxes, landmarks, areas, confidences.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Label photos again that already have a mask.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of photos labelled at the same time.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Epochs = Annotated[int, typer.Option(min=1, help="Maximum number; training stops early when it no longer improves.")]
LearningRate = Annotated[float, typer.Option(help="The learning rate.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights of the paper's network from your own run.")]


@app.command(short_help="Label lips and inner mouth in photos or videos.")
def lips(
    images: Images,
    out: Out,
    face: Faces = "all",
    mouth_crops: Annotated[
        bool, typer.Option("--mouth-crops", help="The images are mouth crops; lips take 60 % of the width.")
    ] = False,
    as_json: FacesJson = False,
    overwrite: Overwrite = False,
    workers: Workers = 1,
    device: Device = "cpu",
    network: Annotated[
        Literal["features", "fuzzy"],
        typer.Option(help="fuzzy: yang2023's network, which also labels teeth and tongue."),
    ] = "features",
    checkpoint: Checkpoint = None,
) -> None:
    """Label lips and inner mouth in photos or videos of people."""
    from reprolib import paper_networks

    _label(
        "lips",
        images,
        out,
        paper_networks.fuzzy if network == "fuzzy" else None,
        checkpoint,
        workers,
        largest=face == "largest",
        mouth_crops=mouth_crops,
        as_json=as_json,
        overwrite=overwrite,
        device=device,
    )


@app.command(short_help="Label face parts, hair and clothing in photos or videos.")
def parse(
    images: Images,
    out: Out,
    face: Faces = "all",
    as_json: FacesJson = False,
    overwrite: Overwrite = False,
    workers: Workers = 1,
    device: Device = "cpu",
    network: Annotated[
        Literal["features", "icnn"], typer.Option(help="icnn: yin2020's network, which labels only brows to lips.")
    ] = "features",
    checkpoint: Checkpoint = None,
) -> None:
    """Label skin, brows, eyes, nose, lips, inner mouth, hair, ears, neck, cloth, hats and glasses."""
    from reprolib import paper_networks

    _label(
        "parse",
        images,
        out,
        paper_networks.icnn if network == "icnn" else None,
        checkpoint,
        workers,
        largest=face == "largest",
        as_json=as_json,
        overwrite=overwrite,
        device=device,
    )


@app.command(short_help="Label skin, eyes and mouth, also where they are covered.")
def masks(
    images: Images,
    out: Out,
    face: Faces = "all",
    as_json: FacesJson = False,
    overwrite: Overwrite = False,
    workers: Workers = 1,
    device: Device = "cpu",
) -> None:
    """Label facial skin, eyes, outer and inner mouth, also where something covers them.

    A video gives NAME_masks/00000.png, … and NAME_overlay.mp4.
    """
    _label(
        "masks",
        images,
        out,
        None,
        None,
        workers,
        largest=face == "largest",
        as_json=as_json,
        overwrite=overwrite,
        device=device,
    )


@app.command(short_help="Find landmarks and crop mouths in videos of a speaker.")
def mouths(
    videos: Annotated[list[str], typer.Argument(help="Videos of one speaker, folders of them, or patterns.")],
    out: Annotated[Path, typer.Option(help="The folder for NAME.npz, NAME.csv and NAME_preview.mp4.")],
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the crop in pixels.")] = 112,
    aligned: Annotated[bool, typer.Option(help="Rotate the head upright, by one angle for the whole clip.")] = True,
    fps: Annotated[
        float | None, typer.Option(min=1, max=240, help="Resample to this number of frames per second.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the 68 landmarks of a speaker in every frame, and crop the mouth as input for lip-reading networks."""
    from reprolib import mouth_clips

    for path in mouth_clips.write_files(videos, out=out, size=size, aligned=aligned, fps=fps, overwrite=overwrite):
        print(path)


@app.command(short_help="Render faces, mouths or videos with exact labels.")
def synth(
    kind: Annotated[Literal["faces", "mouths", "clips", "speech"], typer.Argument(help="What to render.")],
    out: Annotated[Path, typer.Option(help="The folder for images or videos, labels and manifest.csv.")],
    count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 10,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Shorter side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Another seed renders other people.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Number of processes; 0: one per core.")] = 0,
) -> None:
    """Render faces, mouths or videos of speakers with exact labels; the same files for the same seed."""
    from reprolib import synth as renderer

    for path in renderer.write(kind, count=count, size=size, seed=seed, out=out, workers=workers):
        print(path)


@app.command(short_help="Train a network on your own images and masks.")
def train(
    images: Annotated[Path, typer.Argument(help="The folder with the images.")],
    masks: Annotated[Path, typer.Argument(help="The folder with masks of class numbers, NAME.png or NAME_mask.png.")],
    classes: Annotated[Path, typer.Option(help="The class names in order: classes.json, or one per line.")],
    out: Annotated[Path, typer.Option(help="The folder for network.pt, scores.json and split.json.")],
    network: Annotated[Literal["lips", "unet"], typer.Option(help="yang2023's network or a plain U-Net.")] = "lips",
    encoder: Annotated[
        str, typer.Option(help="mobilenet_v2, resnet18 or resnet34; for unet also resnet50 or vgg16.")
    ] = "mobilenet_v2",
    pretrained: Annotated[bool, typer.Option(help="Start from ImageNet weights.")] = True,
    height: Annotated[int, typer.Option(help="Height of the scaled images in pixels, a multiple of 32.")] = 64,
    width: Annotated[int, typer.Option(help="Width of the scaled images in pixels, a multiple of 32.")] = 128,
    group: Annotated[str, typer.Option(help="Regex; images with the same match stay in one part, e.g. '^[^_]+'.")] = "",
    epochs: Epochs = 60,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 16,
    lr: LearningRate = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, the initial weights and the training.")] = 0,
    device: Device = "cpu",
) -> None:
    """Train a network on your own images and masks, and score it on images that training did not use."""
    import json

    from reprolib import own_masks

    size = (height, width)
    options = dict(network=network, encoder=encoder, pretrained=pretrained, size=size, group=group)
    options |= dict(epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=device)
    print(json.dumps(own_masks.fit(images, masks, classes=classes, out=out, **options), indent=1))


@app.command("train-words", short_help="Train a lip reader on your own clips of words.")
def train_words(
    clips: Annotated[Path, typer.Argument(help="The folder with WORD/{train,val,test}/CLIP.mp4.")],
    out: Annotated[Path, typer.Option(help="The folder for network.pt and scores.json.")],
    size: Annotated[int, typer.Option(min=32, max=256, help="Side of the mouth's crop in pixels.")] = 56,
    frames: Annotated[int, typer.Option(min=5, max=250, help="Frames from the middle of each clip, at 25 fps.")] = 29,
    width: Annotated[int, typer.Option(min=4, help="Channels of the first convolution (paper: 64).")] = 16,
    epochs: Epochs = 60,
    batch_size: Annotated[int, typer.Option(min=2, help="Clips per step.")] = 16,
    lr: LearningRate = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights and the training.")] = 0,
    device: Device = "cpu",
) -> None:
    """Train a lip reader on your own clips of words, and score it on clips that training did not use."""
    import json

    from reprolib import own_words

    options = dict(size=size, frames=frames, width=width, epochs=epochs, batch_size=batch_size)
    print(json.dumps(own_words.fit(clips, out=out, lr=lr, seed=seed, device=device, **options), indent=1))


@app.command(short_help="Write a network of lips, parse and masks as ONNX.")
def export(
    network: Annotated[str, typer.Argument(help="features (brows to lips) or regions (skin, hair, neck, …).")],
    file: Annotated[Path, typer.Argument(help="The file to write, such as features.onnx.")],
) -> None:
    """Write one of the two networks behind lips, parse and masks as an ONNX file (extra `onnx`)."""
    from reprolib import onnx_export

    print(onnx_export.export(network, file))


def _label(tool, images, out, load_network, checkpoint, workers, **options) -> None:
    from reprolib.errors import UserError
    from reprolib.photo_files import Options, label_files

    if checkpoint is not None and load_network is None:
        raise UserError("--checkpoint holds a paper's network: name it with --network")
    network = None
    if load_network is not None:
        network = load_network() if checkpoint is None else load_network(checkpoint)
    for path in label_files(images, tool, Options(out, **options), workers=workers, network=network):
        print(path)
