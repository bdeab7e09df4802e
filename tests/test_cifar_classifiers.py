"""The kept classifiers of CIFAR-10: their images, their weights, and what is measured on them."""

from __future__ import annotations

import math

import pytest
import torch

from aelib import models, random
from aelib.experiments import (
    cifar_classifiers,
    cifar_read_back,
    narrow_last_stage,
    noise_trained,
)


@pytest.fixture
def folder(tmp_path):
    """Ten classes with two images a side, as CIFAR-10 lies in a folder."""
    from PIL import Image

    for side in ("train", "test"):
        for number in range(10):
            place = tmp_path / side / f"class{number}"
            place.mkdir(parents=True)
            for name in "ab":
                Image.new("RGB", (32, 32), (number * 20, 0, 0)).save(place / f"{name}.png")
    return tmp_path


def test_cifar_is_read_from_the_folder_that_the_environment_names(folder, monkeypatch):
    monkeypatch.setenv(cifar_classifiers.FOLDER, str(folder))
    images = cifar_classifiers.labelled("cifar10", size=16)
    assert images.train.shape == images.test.shape == (20, 3, 16, 16)
    assert images.train_labels.tolist() == (images.train[:, 0, 0, 0] * 255 / 20).round().tolist()


@pytest.mark.parametrize("name", ["nowhere", "train"])
def test_a_folder_that_is_not_there_or_not_divided_is_refused(folder, monkeypatch, name):
    """Of classes alone a fifth would be held out, and of nowhere nothing be said of CIFAR-10."""
    monkeypatch.setenv(cifar_classifiers.FOLDER, str(folder / name))
    what = r"AELIB_CIFAR10: expected a folder with train/CLASS/ .*data\.load\('cifar10'\)"
    with pytest.raises(ValueError, match=what) as refusal:
        cifar_classifiers.labelled("cifar10")
    assert f"got '{str(folder)[:12]}" in str(refusal.value)  # a long path is cut in its middle


def test_without_a_folder_torchvision_has_them(folder, monkeypatch):
    asked = []
    monkeypatch.delenv(cifar_classifiers.FOLDER, raising=False)
    monkeypatch.setattr(
        cifar_classifiers.data, "load", lambda *args, **options: asked.append((args, options))
    )
    cifar_classifiers.labelled("cifar10", size=16)
    assert asked == [(("cifar10",), {"size": 16, "train": 10_000, "test": 2_000})]
    with pytest.raises(ValueError, match="name: expected"):
        cifar_classifiers.labelled("cifar100")


def test_without_a_folder_or_a_network_it_says_what_to_do(monkeypatch):
    def no_network(*arguments, **options):
        raise ConnectionError("'cifar10' is not here")

    monkeypatch.delenv(cifar_classifiers.FOLDER, raising=False)
    monkeypatch.setattr(cifar_classifiers.data, "load", no_network)
    with pytest.raises(ConnectionError, match=r"is not here; or name a folder .* AELIB_CIFAR10"):
        cifar_classifiers.labelled("cifar10")


def test_pieces_of_photographs_carry_the_photograph_they_were_cut_from():
    images = cifar_classifiers.labelled("photographs", size=16)
    assert (len(images.train), len(images.test), len(images.classes)) == (1536, 512, 5)
    assert set(images.test_labels.tolist()) == set(range(5))


def test_a_moved_image_is_one_of_its_shifted_and_mirrored_copies():
    images = torch.arange(1.0, 2 * 3 * 4 * 5 * 6 + 1).view(2, 3, 4, 5, 6)  # (seeds, batch, …)
    with random.seeded(0):
        moved = cifar_classifiers.moved(images, by=1)
    assert moved.shape == images.shape
    for before, after in zip(images.flatten(0, 1), moved.flatten(0, 1), strict=True):
        padded = torch.zeros(4, 7, 8)
        padded[:, 1:-1, 1:-1] = before
        shifted = [padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
        copies = [*shifted, *(image.flip(-1) for image in shifted)]
        assert sum(torch.equal(after, copy) for copy in copies) == 1
    with random.seeded(0):
        many = cifar_classifiers.moved(images[:1, :1].expand(200, 1, -1, -1, -1), by=1)
    assert len(many.flatten(1).unique(dim=0)) == 18


@pytest.mark.parametrize(("kind", "least"), [("ResNet", 0.7), ("ViT", 0.5)])
def test_the_kept_classifiers_read_cifar(kind, least):
    model, known = cifar_classifiers.classifier(kind), cifar_classifiers.accuracies(kind)
    assert not model.training
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert known["test"] > least
    assert known["test, half precision"] == pytest.approx(known["test"], abs=0.005)


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_weights_that_are_missing_cut_or_of_another_net_are_refused(tmp_path, damage):
    path = cifar_classifiers.file("ViT", tmp_path)
    whole = cifar_classifiers.file("ViT").read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-1000])
    if damage == "other":
        path.write_bytes(cifar_classifiers.file("ResNet").read_bytes())
    match = r"cifar_vit\.safetensors: expected the weights of the ViT.*cifar_classifiers"
    with pytest.raises(ValueError, match=match):
        cifar_classifiers.classifier("ViT", tmp_path)
    with pytest.raises(ValueError, match="kind: expected"):
        cifar_classifiers.classifier("VGG")


def test_fine_detail_is_what_waves_shorter_than_four_pixels_hold():
    noise = random.normal((200, 3, 32, 32), torch.empty(0), random.generator(0))
    share = noise_trained.fine_share(0.5 + noise)
    assert share.mean() == pytest.approx(1 - 17**2 / 32**2, abs=0.003)
    places = torch.arange(32)
    board = ((places[:, None] + places) % 2).float().expand(1, 3, 32, 32)
    wave = torch.cos(2 * math.pi * places / 16).expand(1, 3, 32, 32)
    assert noise_trained.fine_share(board) == pytest.approx(1)
    assert noise_trained.fine_share(wave) == pytest.approx(0, abs=1e-9)
    assert noise_trained.fine_share(board + wave) == pytest.approx(0.25 / 0.75)
    assert noise_trained.fine_share(torch.full((1, 3, 32, 32), 0.5)) == 0


def test_images_that_several_nets_read_in_turn_stay_in_order():
    def build():
        return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Flatten())

    group = models.replicate(build, seeds=2)
    images = torch.rand(4, 3, 8, 8, generator=random.generator(0))
    row = cifar_read_back.read(group, images, "0", steps=100, least=50)
    assert row["leftover"].max() < 0.01
    assert torch.allclose(row["images"], images, atol=0.2)
    assert row["thumbnail"].shape == row["levelled off"].shape == (4,)
    assert row["levelled off"].all()
    short = cifar_read_back.read(group, images, "0", steps=2, least=2)
    assert not short["levelled off"].any()
    long = cifar_read_back.read(group, images, "0", steps=60, least=60)  # 50 is on the record
    assert (long["nearest on the way"] <= 1.01 * long["leftover"]).all()


def test_a_last_stage_whose_relus_are_all_silent_has_lost_everything():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 8, 8)
    net = models.SmallConvNet((3, 8, 8), 5, 4, 6).train()
    statistics = {name: value.clone() for name, value in net.state_dict().items()}
    (left, *_), found = narrow_last_stage.read_back(net, images, 0, steps=5, least=2)
    assert left != 1
    assert set(found) == {f"f of the {line}" for line in narrow_last_stage.LINES}
    assert all(torch.equal(value, statistics[name]) for name, value in net.state_dict().items())
    torch.nn.init.constant_(net.features[0].bias, -1e3)
    assert narrow_last_stage.read_back(net, images, 0, steps=5, least=2) == ((1.0, 0.0, 1.0), {})


def test_a_net_as_it_is_built_differs_from_the_untrained_one_by_its_statistics_alone():
    groups = cifar_read_back.nets(torch.rand(8, 3, 32, 32, generator=random.generator(0)), 1)
    (built,), (untrained,) = (groups["ResNet", state] for state in ("as built", "untrained"))
    assert all(map(torch.equal, built.parameters(), untrained.parameters()))
    moved = {name: value for name, value in built.state_dict().items() if "running_mean" in name}
    assert moved
    assert not any(value.any() for value in moved.values())
    assert all(untrained.state_dict()[name].any() for name in moved)
