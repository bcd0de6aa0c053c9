import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprolib.datasets.augmentation import noise_like
from reprolib.errors import UserError
from reprolib.training import (
    Schedule,
    Stopped,
    images_per_second,
    make_fabric,
    predict,
    run_once,
    train,
    warmup_rate,
)

FLAT = Schedule.flat(epochs=3, batch_size=4, lr=1e-2)


def faces(count=12):
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return {"images": images, "labels": (images.mean(1) > 0.5).long()}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


def cross_entropy(logits, batch):
    return F.cross_entropy(logits, batch["labels"])


def fit(model, *, schedule=FLAT, seed=0, loss=cross_entropy, **more):
    return train(model, faces(), loss, schedule=schedule, fabric=make_fabric("cpu"), seed=seed, **more)


def test_a_network_learns_one_small_set_by_heart():
    model = network()
    curves = fit(model, schedule=Schedule.flat(epochs=40, batch_size=4, lr=1e-2)).curves
    assert curves["loss"][-1] < 0.3 * curves["loss"][0]
    found = predict(model, faces()["images"])
    assert found.dtype == np.uint8
    assert (found == faces()["labels"].numpy()).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (0, 0, 1):
        model = network()
        fit(model, seed=seed)
        weights.append(model[0].weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_loss_that_is_not_finite_stops_training_with_one_sentence():
    with pytest.raises(UserError, match=r"expected a finite training loss, found nan in epoch 1 at .* lower the"):
        fit(network(), loss=lambda logits, batch: cross_entropy(logits, batch) * torch.nan)


def test_the_rate_drops_on_a_plateau_and_not_below_its_end():
    schedule = Schedule.plateau(epochs=8, batch_size=4, lr=1e-2, final_lr=1e-4, drop_after=1)
    rates = fit(network(), schedule=schedule, validate=lambda model: 0.5).curves["lr"]
    assert rates[0] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-4)
    assert sorted(rates, reverse=True) == rates


def test_on_a_plateau_all_parts_keep_their_share_of_the_rate():
    schedule = Schedule.plateau(epochs=1, batch_size=4, lr=1e-2, final_lr=1e-3, drop_after=0, rates={"0": 0.5})
    optimiser = schedule.optimiser_of(network())
    change = schedule.change(optimiser)
    for _ in range(5):
        change.after_epoch(0.5)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([5e-4, 1e-3])


def test_a_flat_schedule_records_the_validation_score_and_ignores_it():
    curves = fit(network(), validate=lambda model: 0.5).curves
    assert set(curves["lr"]) == {1e-2}
    assert curves["validation"] == [0.5] * 3


@pytest.mark.parametrize(
    "schedule", [Schedule.plateau(1, 4, 1e-2, final_lr=1e-4), Schedule.flat(1, 4, 1e-2, patience=2)]
)
def test_a_schedule_that_watches_a_score_is_refused_without_one(schedule):
    with pytest.raises(ValueError, match="this schedule needs `validate`"):
        fit(network(), schedule=schedule)


def scripted(scores, seen=None):
    """A validation that gives these scores, one per epoch, and keeps the weights that it saw."""
    remaining = iter(scores)

    def validate(model):
        assert not model.training
        if seen is not None:
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(remaining)

    return validate


def stopped(scores, *, epochs, patience):
    schedule = Schedule.flat(epochs, 4, 1e-2, patience=patience)
    return fit(network(), schedule=schedule, validate=scripted(scores)).stopped


def test_training_stops_when_the_score_has_not_risen_for_patience_epochs():
    expected = Stopped(best_epoch=2, epochs=4, ceiling=9, patience=2, converged=True)
    assert stopped([0.1, 0.3, 0.3, 0.2], epochs=9, patience=2) == expected


@pytest.mark.parametrize(("ceiling", "epochs", "converged"), [(3, 3, False), (4, 4, False), (5, 4, True), (6, 4, True)])
def test_a_best_epoch_within_patience_of_the_ceiling_has_not_converged(ceiling, epochs, converged):
    found = stopped([0.1, 0.3, 0.2, 0.2, 0.2, 0.2], epochs=ceiling, patience=2)
    assert found == Stopped(2, epochs, ceiling, 2, converged)


def test_without_patience_the_last_epoch_counts_and_nothing_is_known_of_convergence():
    assert stopped([0.3, 0.2, 0.1], epochs=3, patience=0) == Stopped(3, 3, 3, 0, False)


def test_the_weights_and_statistics_of_the_best_epoch_are_kept():
    seen, model = [], network()
    schedule = Schedule.flat(epochs=6, batch_size=4, lr=1e-2, patience=3)
    fit(model, schedule=schedule, validate=scripted([0.1, 0.4, 0.3, 0.2, 0.1], seen))
    assert len(seen) == 5
    assert all(torch.equal(value, seen[1][name]) for name, value in model.state_dict().items())
    assert not torch.equal(model[1].running_mean, seen[4]["1.running_mean"])


def test_a_score_that_is_not_a_number_never_counts_as_better():
    assert stopped([0.2, float("nan"), 0.1], epochs=9, patience=2).best_epoch == 1


def test_uint8_images_are_prepared_on_the_device_before_they_are_augmented():
    seen = []

    def prepare(batch):
        assert batch["images"].dtype == torch.uint8
        return {**batch, "images": batch["images"].float() / 255}

    def augment(batch, generator):
        seen.append(batch["images"].dtype)
        return batch

    data = {"images": (faces()["images"] * 255).byte(), "labels": faces()["labels"]}
    one, other = network(), network()
    common = {"schedule": FLAT, "fabric": make_fabric("cpu"), "seed": 0}
    train(one, data, cross_entropy, prepare=prepare, augment=augment, **common)
    train(other, {**data, "images": data["images"].float() / 255}, cross_entropy, **common)
    assert set(seen) == {torch.float32}
    assert torch.equal(one[0].weight, other[0].weight)
    np.testing.assert_array_equal(
        predict(one, data["images"], prepare=prepare, batch_size=5), predict(other, data["images"].float() / 255)
    )


def test_both_memory_layouts_learn_the_same_and_leave_the_network_contiguous():
    layouts, curves = [], []

    def loss(logits, batch):
        layouts.append(logits.is_contiguous(memory_format=torch.channels_last))
        return cross_entropy(logits, batch)

    for channels_last in (True, False):
        model = network()
        curves.append(fit(model, loss=loss, channels_last=channels_last).curves["loss"])
        assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert layouts == [True] * 9 + [False] * 9
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_noise_follows_from_the_generator_and_goes_on():
    images = faces()["images"].double()
    generator = torch.Generator().manual_seed(3)
    first, second = noise_like(images, generator), noise_like(images, generator)
    assert first.shape == images.shape and first.dtype == torch.float64
    assert torch.equal(first, noise_like(images, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, second)
    assert abs(first.mean()) < 0.1 and abs(first.std() - 1) < 0.1


def test_a_frozen_part_runs_once_over_all_images():
    model = network().train()
    before = model[1].running_mean.clone()
    images = faces()["images"]
    features = run_once(model[:3], images, batch_size=5)
    assert features.shape == (12, 8, 8, 8) and not features.requires_grad
    torch.testing.assert_close(features, model[:3].eval()(images).detach())
    assert torch.equal(model[1].running_mean, before)


def test_weight_decay_shrinks_the_weights_apart_from_the_gradient():
    schedule = Schedule.flat(1, 12, 1e-2, optimiser=torch.optim.AdamW, weight_decay=5.0)
    model = network()
    before = model[0].weight.detach().clone()
    fit(model, schedule=schedule, loss=lambda logits, batch: 0 * logits.sum())
    torch.testing.assert_close(model[0].weight, before * (1 - 1e-2 * 5.0))


def halved(epoch):
    return 0.5**epoch


def test_parts_of_a_network_learn_at_their_own_rate_and_all_rates_fall_by_the_same_factor():
    model = network()
    schedule = Schedule.decay(3, 4, 1e-2, halved, rates={"0": 0.1, "3.bias": 0.5})
    optimiser = schedule.optimiser_of(model)
    change = schedule.change(optimiser)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert named == pytest.approx(
        {"0.weight": 1e-3, "0.bias": 1e-3, "1.weight": 1e-2, "1.bias": 1e-2, "3.weight": 1e-2, "3.bias": 5e-3}
    )
    optimiser.step()
    change.after_epoch(None)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([5e-4, 2.5e-3, 5e-3])


def test_a_part_with_rate_zero_stays_as_it_is_with_its_statistics():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, schedule=Schedule.decay(2, 4, 1e-2, halved, rates={"0": 0, "1": 0}))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"3.weight", "3.bias"}


def test_a_rate_for_a_part_that_does_not_exist_is_refused():
    schedule = Schedule.flat(epochs=1, batch_size=4, lr=1e-2, rates={"head": 0.1})
    with pytest.raises(ValueError, match="no parameter's name begins with head"):
        fit(network(), schedule=schedule)


def test_a_rate_may_fall_with_every_step():
    used = []

    class Noted(torch.optim.SGD):
        def step(self, closure=None):
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    schedule = Schedule.decay(2, 4, 1e-2, halved, optimiser=Noted, per_step=True)
    curves = fit(network(), schedule=schedule).curves
    assert used == pytest.approx([1e-2 * 0.5**step for step in range(6)])  # twelve faces, three steps an epoch
    assert curves["lr"] == pytest.approx([1e-2 / 8, 1e-2 / 64])


def test_the_warm_up_of_a_transformer_by_hand():
    def rate(step, **changes):
        return warmup_rate(step, **{"width": 512, "factor": 1.0, "warmup": 4000, **changes})

    assert rate(4000) == pytest.approx((512 * 4000) ** -0.5) == pytest.approx(7.0e-4, rel=2e-3)
    assert max(range(1, 12_001, 7), key=rate) == pytest.approx(4000, abs=7)
    assert rate(1000) == pytest.approx(rate(4000) / 4)
    assert rate(16_000) == pytest.approx(rate(4000) / 2)
    # a factor moves the peak and leaves its height
    assert rate(2000, factor=2.0) == pytest.approx(rate(4000))
    assert rate(1999, factor=2.0) < rate(2000, factor=2.0) > rate(2001, factor=2.0)
    with pytest.raises(ValueError, match="steps count from 1, found 0"):
        rate(0)


def test_a_network_may_take_several_inputs_and_give_several_outputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(3, 1), nn.Linear(2, 1)

        def forward(self, left, right):
            return {"one": self.one(left), "other": self.other(right)}

    torch.manual_seed(0)
    data = {"left": torch.randn(8, 3), "right": torch.randn(8, 2), "target": torch.ones(8, 1)}

    def loss(output, batch):
        return F.mse_loss(output["one"], batch["target"]) + F.mse_loss(output["other"], batch["target"])

    schedule = Schedule.flat(epochs=60, batch_size=4, lr=5e-2)
    fitted = train(Both(), data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0, inputs=("left", "right"))
    assert fitted.curves["loss"][-1] < 0.1 * fitted.curves["loss"][0]


def test_what_each_epoch_measures_becomes_a_curve():
    curves = fit(network(), each_epoch=lambda model, epoch: {"twice": 2 * epoch, "training": model.training}).curves
    assert curves["twice"] == [0.0, 2.0, 4.0]
    assert curves["training"] == [0.0, 0.0, 0.0]  # measured in evaluation mode


def test_a_last_batch_of_one_face_is_left_out():
    seen = []

    def loss(logits, batch):
        seen.append(len(logits))
        return cross_entropy(logits, batch)

    fit(network(), schedule=Schedule.flat(epochs=1, batch_size=11, lr=1e-3), loss=loss)
    assert seen == [11]


def test_prediction_leaves_the_network_in_the_mode_it_was_in():
    model = network().train()
    predict(model, faces()["images"], batch_size=5)
    assert model.training


def test_speed_is_a_positive_number_of_images_a_second():
    assert images_per_second(network(), faces()["images"], repeats=3) > 0


def test_two_devices_learn_what_one_learns(tmp_path):
    script = Path(__file__).with_name("ddp_training.py")
    for devices in (1, 2):
        command = [sys.executable, str(script), str(devices), str(tmp_path / f"of{devices}")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=script.parent.parent)
        assert done.returncode == 0, done.stderr
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("of1-0", "of2-0", "of2-1"))
    assert (one["world"], first["world"], second["world"]) == (1, 2, 2)
    assert (one["validated"], first["validated"], second["validated"]) == (4, 4, 0)
    assert one["best"] == first["best"] == second["best"] == 2
    for found in (first, second):
        assert found["curves"]["loss"] == pytest.approx(one["curves"]["loss"], rel=1e-5)
        assert found["curves"]["validation"] == one["curves"]["validation"]
        for name, value in one["weights"].items():
            torch.testing.assert_close(found["weights"][name], value, rtol=1e-4, atol=1e-6)
