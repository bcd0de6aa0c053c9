"""STN-iCNN: two stages, mirrored parts, one face again, and how far each cropper lets the gradient through."""

import pytest
import torch
from torch import nn

from reprolib.losses.parsing_loss import coarse_loss, part_loss, part_targets
from reprolib.models.icnn import ICNN
from reprolib.models.localisation import LightLocalisation
from reprolib.models.spatial_transformer import crop, theta_of_centres
from reprolib.models.stn_icnn import STNICNN, FineStage, assemble, labels_of
from reprolib.training import Schedule, make_fabric, train

SIDE, SMALL, PATCH, MOUTH_PATCH = 48, 24, 9, 13
CENTRES = torch.tensor([[[14.0, 14], [34, 14], [15, 22], [33, 22], [24, 28], [24, 38]]])
THETA = theta_of_centres(CENTRES, frame=(SIDE, SIDE), patch=(PATCH,) * 5 + (MOUTH_PATCH,))
LABELS = {"brow": 2, "eye": 2, "nose": 2, "mouth": 4}


def model(cropper="stn"):
    torch.manual_seed(0)
    narrow = (2, 3, 4, 5)
    return STNICNN(
        coarse=ICNN(9, channels=narrow),
        localiser=None if cropper == "baseline" else LightLocalisation(mean=THETA[0]),
        fine={kind: ICNN(count, channels=narrow) for kind, count in LABELS.items()},
        patch=PATCH,
        mouth_patch=MOUTH_PATCH,
        cropper=cropper,
    )


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    for number, (x, y) in enumerate(CENTRES[0, :5].long().tolist(), start=1):
        labels[:, y - 1 : y + 3, x - 3 : x + 2] = number
    for number, y in ((6, 35), (7, 37), (8, 40)):
        labels[:, y : y + 2, 20:29] = number
    full = torch.rand(2, 3, SIDE, SIDE, generator=generator)
    return {"full": full, "small": full[..., ::2, ::2], "labels": labels, "small_labels": labels[:, ::2, ::2]}


@pytest.mark.parametrize("cropper", ["stn", "baseline", "roi_align"])
def test_outputs_of_both_stages(batch, cropper):
    outputs = model(cropper)(batch["small"], batch["full"])
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "coarse": (2, 9, SMALL, SMALL),
        "theta": (2, 6, 2, 3),
        "parts": (2, 5, 2, PATCH, PATCH),
        "mouth": (2, 4, MOUTH_PATCH, MOUTH_PATCH),
    }


@pytest.mark.parametrize("cropper", ["stn", "baseline", "roi_align"])
def test_parse_labels_every_pixel_of_the_frame_and_leaves_the_mode_as_it_was(batch, cropper):
    network = model(cropper).train()
    labels = network.parse(batch["small"], batch["full"])
    assert labels.shape == (2, SIDE, SIDE) and labels.dtype == torch.uint8 and labels.max() <= 8
    assert network.training and network.fine["nose"].training
    assert torch.equal(labels, network.eval().parse(batch["small"], batch["full"]))


def test_the_mouth_has_the_patch_of_the_others_unless_told():
    network = STNICNN(coarse=nn.Identity(), localiser=nn.Identity(), fine=dict.fromkeys(LABELS, nn.Identity()))
    assert (network.fine.patch, network.fine.mouth_patch) == (81, 81)


def test_perfect_part_labels_give_back_the_face(batch):
    theta = THETA.expand(2, -1, -1, -1)
    singles, mouth = part_targets(batch["labels"], theta, patch=PATCH, mouth_patch=MOUTH_PATCH)
    parts = 20 * nn.functional.one_hot(singles, 2).movedim(-1, 2).float()
    mouth = 20 * nn.functional.one_hot(mouth, 4).movedim(-1, 1).float()
    outputs = {"theta": theta, "parts": parts, "mouth": mouth}
    assert torch.equal(labels_of(outputs, frame=(SIDE, SIDE)).long(), batch["labels"])


def test_background_is_the_product_over_the_parts():
    theta = THETA[:, :1].expand(1, 6, 2, 3)  # all crops at one place
    even = torch.zeros(1, 5, 2, PATCH, PATCH)
    scores = assemble({"theta": theta, "parts": even, "mouth": torch.zeros(1, 4, PATCH, PATCH)}, frame=(SIDE, SIDE))
    assert scores[0, :, 14, 14].tolist() == pytest.approx([0.5**5 * 0.25, *[0.5] * 5, *[0.25] * 3])
    assert scores[0, :, 0, 0].tolist() == [1, *[0] * 8]


class Echo(nn.Module):
    """Two channels of the picture as logits, beside it the columns' numbers."""

    def forward(self, images):
        columns = torch.arange(images.shape[-1]).to(images).expand_as(images[:, :1])
        return torch.cat([images[:, :1], columns], dim=1)


def test_brow_2_and_eye_2_are_mirrored_for_the_network_and_mirrored_back(batch):
    stage = FineStage(dict.fromkeys(LABELS, Echo()), patch=PATCH, mouth_patch=MOUTH_PATCH, aligned=False)
    theta = THETA.expand(2, -1, -1, -1)
    parts = stage(batch["full"], theta)["parts"]
    assert torch.equal(parts[:, :, 0], crop(batch["full"], theta[:, :5], patch=PATCH)[:, :, 0])
    columns = torch.arange(PATCH).float()
    for part, mirrored in enumerate([False, True, False, True, False]):
        assert torch.equal(parts[0, part, 1, 0], columns.flip(0) if mirrored else columns)


def test_roi_align_crops_as_the_grid_transformer_does_at_whole_centres(batch):
    networks = dict.fromkeys(LABELS, Echo())
    theta = THETA.expand(2, -1, -1, -1).clone()
    aligned = FineStage(networks, patch=PATCH, mouth_patch=MOUTH_PATCH, aligned=True)
    plain = FineStage(networks, patch=PATCH, mouth_patch=MOUTH_PATCH, aligned=False)
    wider = theta * torch.tensor([[1.5, 1, 1], [1, 1.5, 1]])  # scales do not count
    torch.testing.assert_close(aligned(batch["full"], wider), plain(batch["full"], theta), atol=1e-5, rtol=0)


def gradient_in_coarse(cropper, batch):
    network = model(cropper)
    part_loss(network(batch["small"], batch["full"]), batch["labels"]).backward()
    assert network.fine["mouth"].head[2].weight.grad.abs().max() > 0
    gradients = [p.grad for p in network.coarse.parameters()]
    return max(0.0 if gradient is None else float(gradient.abs().max()) for gradient in gradients)


def test_the_part_loss_teaches_the_first_stage_through_the_grid_transformer(batch):
    assert gradient_in_coarse("stn", batch) > 0


@pytest.mark.parametrize("cropper", ["baseline", "roi_align"])
def test_through_other_croppers_no_gradient_reaches_the_first_stage(batch, cropper):
    assert gradient_in_coarse(cropper, batch) == 0


def learned(network, batch, rates):
    """Names of the submodules that one epoch of training on the part loss changed."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    schedule = Schedule.flat(epochs=1, batch_size=2, lr=1e-2, rates=rates)
    train(
        network,
        batch,
        lambda outputs, b: part_loss(outputs, b["labels"]),
        schedule=schedule,
        fabric=make_fabric("cpu"),
        seed=0,
        inputs=("small", "full"),
    )
    return {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def test_joint_training_changes_all_three_and_frozen_parts_stay(batch):
    assert learned(model(), batch, {"coarse": 0.1, "localiser": 0.1}) == {"coarse", "localiser", "fine"}
    assert learned(model(), batch, {"coarse": 0.0, "localiser": 0.0}) == {"fine"}


def test_the_second_stage_trains_alone_on_true_crops(batch):
    stage = model().fine
    curves = train(
        stage,
        batch | {"theta": THETA.expand(2, -1, -1, -1)},
        lambda outputs, b: part_loss(outputs, b["labels"]),
        schedule=Schedule.flat(epochs=8, batch_size=2, lr=1e-2),
        fabric=make_fabric("cpu"),
        seed=0,
        inputs=("full", "theta"),
    ).curves
    assert curves["loss"][-1] < curves["loss"][0]


def test_the_first_stage_loss_takes_the_same_outputs(batch):
    outputs = model()(batch["small"], batch["full"])
    assert coarse_loss(outputs["coarse"], batch["small_labels"]).isfinite()


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="needs a localiser"):
        STNICNN(coarse=nn.Identity(), localiser=None, fine=dict.fromkeys(LABELS, Echo()))
    with pytest.raises(ValueError, match="'stn', 'baseline' or 'roi_align'"):
        STNICNN(coarse=nn.Identity(), localiser=None, fine=dict.fromkeys(LABELS, Echo()), cropper="roi")
