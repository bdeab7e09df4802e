"""torchvision's classifiers by name: random weights, weights from files, and what is refused."""

from __future__ import annotations

import os
import pickle
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.v2.functional import normalize

from aelib import models
from aelib.models.pretrained import IMAGENET_DEVIATION, IMAGENET_MEAN

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet():
    return models.classifier("resnet18", seed=4)


def same(model, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def tiny(monkeypatch):
    """Small classifiers in torchvision's place, so that a test takes no second."""
    make = torchvision.models.vision_transformer.VisionTransformer

    def get_model(name, weights, **sizes):
        how = {"image_size": 224, **sizes}
        return make(patch_size=16, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=4, **how)

    monkeypatch.setattr(torchvision.models, "get_model", get_model)


def test_random_weights_come_from_the_seed(resnet):
    before = torch.get_rng_state()
    again, other = (models.classifier("resnet18", seed=seed) for seed in (4, 5))
    assert torch.equal(before, torch.get_rng_state())
    assert same(again, resnet)
    assert not same(other, resnet)
    assert not any(module.training for module in resnet.modules())
    with torch.no_grad():
        assert resnet(IMAGES).shape == (2, 1000)


def test_imagenet_normalises_as_torchvision_does(resnet):
    weights = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert (tuple(weights.mean), tuple(weights.std)) == (IMAGENET_MEAN, IMAGENET_DEVIATION)
    normal = normalize(IMAGES, weights.mean, weights.std)
    with torch.no_grad():
        assert torch.allclose(models.imagenet(resnet, IMAGES), resnet(normal), atol=1e-5)


@pytest.mark.parametrize("kind", ["a.pt", "b.pth", "c.safetensors", "wrapped.pt", "noending"])
def test_weights_come_from_a_file(resnet, tmp_path, kind):
    path, state = tmp_path / kind, resnet.state_dict()
    if kind.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if "wrapped" in kind else state, path)
    assert same(models.classifier("resnet18", path), resnet)
    assert same(models.classifier("resnet18", str(path), seed=9), resnet)


def test_a_transformers_positions_are_fitted_to_the_size(monkeypatch, tmp_path):
    tiny(monkeypatch)
    path, built = tmp_path / "vit.pt", models.classifier("vit_b_16", size=64)
    torch.save(built.state_dict(), path)
    larger = models.classifier("vit_b_16", path, size=96, seed=1)
    assert larger.encoder.pos_embedding.shape == (1, 37, 4)
    assert torch.equal(larger.encoder.pos_embedding[:, :1], built.encoder.pos_embedding[:, :1])
    assert torch.equal(larger.conv_proj.weight, built.conv_proj.weight)
    assert same(models.classifier("vit_b_16", path, size=64, seed=1), built)
    assert larger(torch.rand(1, 3, 96, 96)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnet19", {}, ValueError, "^name: .*'resnet50'"),
        ("fcn_resnet50", {}, ValueError, "^name: "),  # no classifier
        ("vit_b_16", {"size": 50}, ValueError, "^size: .* vit_b_16, got 50; take 48 or 64"),
        ("vit_l_16", {"size": 7}, ValueError, "^size: .* take 16 or 16"),
        ("resnet18", {"size": 64.0}, TypeError, "^size: "),
        ("resnet18", {"weights": 3}, TypeError, "^weights: .* such as 'DEFAULT'"),
        ("resnet18", {"weights": "IMAGENET1K_V9"}, ValueError, "^weights: .* 'IMAGENET1K_V1'"),
        ("resnet18", {"weights": "none.safetensors"}, FileNotFoundError, "^weights: "),
        ("resnet18", {"weights": os.path.dirname(__file__)}, FileNotFoundError, "^weights: "),
    ],
)
def test_what_it_cannot_give_is_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        models.classifier(name, **options)


def test_weights_of_another_model_are_refused(monkeypatch, resnet, tmp_path):
    path = tmp_path / "weights.pt"
    state = resnet.state_dict()
    torch.save({**state, "fc.bias": torch.zeros(10)}, path)
    with pytest.raises(
        ValueError, match=r"^weights: expected those of resnet18, .* 0 of .* shapes"
    ):
        models.classifier("resnet18", path)
    del state["fc.bias"]
    torch.save({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="1 of its tensors are missing and 1 "):
        models.classifier("resnet18", path)
    tiny(monkeypatch)
    with pytest.raises(ValueError, match="those of vit_b_16"):  # not even positions to fit
        models.classifier("vit_b_16", path, size=32)
    torch.save({"encoder.pos_embedding": torch.zeros(1, 7, 4)}, path)  # no square of patches
    with pytest.raises(ValueError, match="those of vit_b_16"):
        models.classifier("vit_b_16", path, size=32)


@pytest.mark.parametrize("error", [URLError("no route"), OSError("disk"), RuntimeError("hash")])
@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1"])
def test_without_a_network_it_says_what_to_do(monkeypatch, name, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(OSError, match=rf"{name} of resnet18, .* get https://.*pth and give"):
        models.classifier("resnet18", name)


def test_weights_by_name_are_loaded(monkeypatch, resnet):
    requests = []

    def load(url, *_, **how):
        requests.append((url, how["check_hash"]))
        return resnet.state_dict()

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", load)
    assert same(models.classifier("resnet18", "DEFAULT", seed=1), resnet)
    assert requests == [(torchvision.models.ResNet18_Weights.DEFAULT.url, True)]


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_is_run(tmp_path):
    path = tmp_path / "weights.pt"
    for write in (torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))):
        write({"conv1.weight": Trap(tmp_path / "sprung")}, path)
        with pytest.raises(ValueError, match=r"^weights: .*weights\.pt: it cannot be read"):
            models.classifier("resnet18", path)
        assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["empty.pt", "text.pt", "text.safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if "empty" in name else b"no weights in here at all")
    with pytest.raises(ValueError, match="it cannot be read"):
        models.classifier("resnet18", tmp_path / name)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 3}, {1: torch.ones(1)}, torch.ones(2)])
def test_a_file_without_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="a dictionary of tensors"):
        models.classifier("resnet18", tmp_path / "weights.pt")
