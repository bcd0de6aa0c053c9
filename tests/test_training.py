import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprolib.errors import UserError
from reprolib.training import (
    CosineSchedule,
    DecaySchedule,
    Schedule,
    images_per_second,
    make_fabric,
    predict,
    train,
    warmup_rate,
)

FLAT = Schedule(epochs=3, batch_size=4, lr=1e-2, final_lr=1e-2)


def pictures(count=12):
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return {"images": images, "labels": (images.mean(1) > 0.5).long()}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


def cross_entropy(logits, batch):
    return F.cross_entropy(logits, batch["labels"])


def fit(model, *, schedule=FLAT, seed=0, loss=cross_entropy, **more):
    return train(model, pictures(), loss, schedule=schedule, fabric=make_fabric("cpu"), seed=seed, **more)


def test_a_network_learns_one_small_set_by_heart():
    model = network()
    curves = fit(model, schedule=Schedule(epochs=40, batch_size=4, lr=1e-2, final_lr=1e-2))
    assert curves["loss"][-1] < 0.3 * curves["loss"][0]
    found = predict(model, pictures()["images"])
    assert found.dtype == np.uint8
    assert (found == pictures()["labels"].numpy()).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    weights = []
    for seed in (0, 0, 1):
        model = network()
        fit(model, seed=seed)
        weights.append(model[0].weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_loss_that_is_not_finite_stops_training_with_one_sentence():
    with pytest.raises(UserError, match=r"expected a finite training loss, found nan in epoch 1, step 1 .* lower the"):
        fit(network(), loss=lambda logits, batch: cross_entropy(logits, batch) * torch.nan)


def test_the_rate_drops_on_a_plateau_and_not_below_its_end():
    schedule = Schedule(epochs=8, batch_size=4, lr=1e-2, final_lr=1e-4, patience=1)
    rates = fit(network(), schedule=schedule, validate=lambda model: 0.5)["lr"]
    assert rates[0] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-4)
    assert sorted(rates, reverse=True) == rates


def test_a_flat_schedule_ignores_validation():
    assert set(fit(network(), validate=lambda model: 0.5)["lr"]) == {1e-2}


def test_a_rate_that_should_drop_needs_a_score_to_watch():
    with pytest.raises(ValueError, match="final_lr below lr needs `validate`"):
        fit(network(), schedule=Schedule(epochs=1, batch_size=4, lr=1e-2, final_lr=1e-4))


def test_the_rate_falls_along_half_a_cosine():
    schedule = CosineSchedule(epochs=4, batch_size=4, lr=1e-2, final_lr=2e-3, weight_decay=0.0)
    rates = fit(network(), schedule=schedule)["lr"]
    assert rates == pytest.approx([2e-3 + 8e-3 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in range(4)])


def test_weight_decay_shrinks_the_weights_apart_from_the_gradient():
    schedule = CosineSchedule(epochs=1, batch_size=12, lr=1e-2, final_lr=1e-2, weight_decay=5.0)
    model = network()
    before = model[0].weight.detach().clone()
    fit(model, schedule=schedule, loss=lambda logits, batch: 0 * logits.sum())
    torch.testing.assert_close(model[0].weight, before * (1 - 1e-2 * 5.0))


def halved(epoch):
    return 0.5**epoch


def test_parts_of_a_network_learn_at_their_own_rate_and_all_rates_fall_by_the_same_factor():
    model = network()
    schedule = DecaySchedule(epochs=3, batch_size=4, lr=1e-2, factor=halved, rates={"0": 0.1, "3.bias": 0.5})
    optimiser = schedule.optimiser(model)
    step = schedule.after_epoch(optimiser, None)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert named == pytest.approx(
        {"0.weight": 1e-3, "0.bias": 1e-3, "1.weight": 1e-2, "1.bias": 1e-2, "3.weight": 1e-2, "3.bias": 5e-3}
    )
    optimiser.step()
    step()
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([5e-4, 2.5e-3, 5e-3])


def test_a_part_with_rate_zero_stays_as_it_is_with_its_statistics():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, schedule=DecaySchedule(epochs=2, batch_size=4, lr=1e-2, factor=halved, rates={"0": 0, "1": 0}))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"3.weight", "3.bias"}


def test_a_rate_for_a_part_that_does_not_exist_is_refused():
    schedule = DecaySchedule(epochs=1, batch_size=4, lr=1e-2, factor=halved, rates={"head": 0.1})
    with pytest.raises(ValueError, match="no parameter's name begins with head"):
        fit(network(), schedule=schedule)


def test_a_rate_may_fall_with_every_step():
    used = []

    class Noted(torch.optim.SGD):
        def step(self, closure=None):
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    schedule = DecaySchedule(epochs=2, batch_size=4, lr=1e-2, factor=halved, method=Noted, per_step=True)
    curves = fit(network(), schedule=schedule)
    assert used == pytest.approx([1e-2 * 0.5**step for step in range(6)])  # twelve pictures, three steps an epoch
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

    schedule = Schedule(epochs=60, batch_size=4, lr=5e-2, final_lr=5e-2)
    curves = train(Both(), data, loss, schedule=schedule, fabric=make_fabric("cpu"), seed=0, inputs=("left", "right"))
    assert curves["loss"][-1] < 0.1 * curves["loss"][0]


def test_what_each_epoch_measures_becomes_a_curve():
    curves = fit(network(), each_epoch=lambda model, epoch: {"twice": 2 * epoch, "training": model.training})
    assert curves["twice"] == [0.0, 2.0, 4.0]
    assert curves["training"] == [0.0, 0.0, 0.0]  # measured in evaluation mode


def test_a_last_batch_of_one_face_is_left_out():
    seen = []

    def loss(logits, batch):
        seen.append(len(logits))
        return cross_entropy(logits, batch)

    fit(network(), schedule=Schedule(epochs=1, batch_size=11, lr=1e-3, final_lr=1e-3), loss=loss)
    assert seen == [11]


def test_prediction_leaves_the_network_in_the_mode_it_was_in():
    model = network().train()
    predict(model, pictures()["images"], batch_size=5)
    assert model.training


def test_speed_is_a_positive_number_of_images_a_second():
    assert images_per_second(network(), pictures()["images"], repeats=3) > 0
