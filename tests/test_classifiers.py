"""Small classifiers and the U-Net's neighbours: shapes, nodes, ratios, slow plain versions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aelib import models, training
from aelib.objectives import classify

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def outputs(net, images, *more):
    """What each node returned, and how often it ran."""
    seen, handles = {}, []
    for name, module in net.named_modules():
        if name:
            handles.append(
                module.register_forward_hook(
                    lambda _, __, found, name=name: seen.setdefault(name, []).append(found)
                )
            )
    net(images, *more)
    for handle in handles:
        handle.remove()
    return seen


def test_the_small_resnet_keeps_what_resnet_50_keeps():
    """ResNet-50's own: 64 × 112², 256 × 56², 512 × 28², 1024 × 14², 2048 × 7² of 3 × 224²."""
    own = [64 * 112**2, 256 * 56**2, 512 * 28**2, 1024 * 14**2, 2048 * 7**2]
    net = models.SmallResNet(IMAGES.shape[1:], classes=5).eval()
    seen = outputs(net, IMAGES)
    names = ["stem", "stage1", "stage2", "stage3", "stage4"]
    ours = [seen[name][0][0].numel() / IMAGES[0].numel() for name in names]
    assert ours == pytest.approx([elements / (3 * 224**2) for elements in own])
    assert seen["pool"][0].shape == (3, 512)
    assert seen["head"][0].shape == (3, 5)


@pytest.mark.parametrize(
    ("build", "nodes"),
    [
        (
            lambda: models.SmallResNet((3, 32, 32), 5, width=4, depth=2),
            ["stem", "stage1", "stage2", "stage3", "stage4", "pool", "head"],
        ),
        (
            lambda: models.SmallViT((3, 32, 32), 5, patch=8, width=8, depth=3, heads=2),
            ["embedding", "block0", "block1", "block2", "token", "head"],
        ),
        (
            lambda: models.SmallConvNet((3, 32, 32), 5, width=4),
            ["body", "features", "head"],
        ),
    ],
)
def test_each_node_runs_once_and_returns_one_tensor(build, nodes):
    net = build().eval()
    seen = outputs(net, IMAGES)
    assert [name for name, _ in net.named_children()] == nodes
    for name in nodes:
        assert len(seen[name]) == 1
        assert isinstance(seen[name][0], torch.Tensor)
        assert len(seen[name][0]) == len(IMAGES)
    assert torch.equal(seen["head"][0], net(IMAGES))
    assert torch.allclose(net(IMAGES[1:2]), net(IMAGES)[1:2], atol=1e-5)


def test_a_transformer_block_is_attention_written_out():
    torch.manual_seed(0)
    width, heads = 8, 2
    net = models.SmallViT((1, 8, 8), 3, patch=4, width=width, depth=1, heads=heads).double()
    tokens = torch.randn(2, 5, width, dtype=torch.float64)
    block = net.block0
    asked = block.asks(block.before_attention(tokens))
    queries, keys, values = asked.split(width, dim=-1)
    seen = torch.empty_like(tokens)
    for one in range(2):
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            for place in range(5):
                scores = torch.stack(
                    [queries[one, place, part] @ keys[one, other, part] for other in range(5)]
                )
                shares = (scores / math.sqrt(width // heads)).exp()
                shares = shares / shares.sum()
                seen[one, place, part] = sum(
                    share * values[one, other, part] for other, share in enumerate(shares)
                )
    middle = tokens + block.answers(seen)
    assert torch.allclose(block(tokens), middle + block.mlp(block.before_mlp(middle)), atol=1e-10)


def test_patches_become_tokens_in_reading_order():
    net = models.SmallViT((1, 4, 6), 3, patch=2, width=8, depth=1, heads=2)
    image = torch.rand(1, 1, 4, 6)
    tokens = net.embedding(image)
    assert tokens.shape == (1, 1 + 6, 8)
    weight, bias = net.embedding.patches.weight, net.embedding.patches.bias
    second = image[0, :, 0:2, 2:4].flatten() @ weight.flatten(1).T + bias
    assert torch.allclose(tokens[0, 2], second + net.embedding.places[0, 2], atol=1e-6)
    assert torch.equal(tokens[0, 0], net.embedding.first[0, 0] + net.embedding.places[0, 0])


def test_the_head_sees_the_class_token_alone():
    net = models.SmallViT((1, 8, 8), 3, patch=4, width=8, depth=1, heads=2)
    tokens = torch.randn(2, 5, 8)
    other = torch.cat([tokens[:, :1], torch.randn(2, 4, 8)], 1)
    assert torch.equal(net.token(tokens), net.token(other))
    assert torch.equal(net.token(tokens), nn.functional.layer_norm(tokens[:, 0], (8,)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.SmallResNet((1, 16, 16), 2, width=4),
        lambda: models.SmallViT((1, 16, 16), 2, patch=4, width=16, depth=1, heads=2),
        lambda: models.SmallConvNet((1, 16, 16), 2, width=4),
    ],
)
def test_each_learns_to_tell_left_from_right(build):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = 0.2 * torch.rand(64, 1, 16, 16, generator=generator)
    images[labels == 0, :, :, :8] += 0.5
    images[labels == 1, :, :, 8:] += 0.5
    torch.manual_seed(1)
    net = build()
    training.fit(net, images, labels=labels, objective=classify, steps=60, batch=32, lr=3e-3)
    with models.evaluating(net):
        assert (net(images).argmax(1) == labels).float().mean() > 0.95


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: models.SmallResNet((3, 24, 32), 5), ValueError, "divisible by 16"),
        (lambda: models.SmallResNet((3, 32), 5), ValueError, "shape: expected"),
        (lambda: models.SmallResNet((3, 32, 32), 0), ValueError, "classes"),
        (lambda: models.SmallResNet((3, 32, 32), 5, depth=0), ValueError, "depth"),
        (lambda: models.SmallViT((3, 30, 32), 5), ValueError, "patch: .* divisible by 4"),
        (lambda: models.SmallViT((3, 32, 32), 5, heads=5), ValueError, "heads: 5 do not divide"),
        (lambda: models.SmallViT((3, 32, 32), 5.0), TypeError, "classes"),
        (lambda: models.SmallConvNet((1, 6, 8), 5), ValueError, "divisible by 4"),
        (lambda: models.SmallConvNet((1, 8, 8), 5, features=0), ValueError, "features"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.SmallResNet((3, 32, 32), 5, width=4),
        lambda: models.SmallViT((3, 32, 32), 5, width=8, depth=1, heads=2),
        lambda: models.SmallConvNet((3, 32, 32), 5, width=4),
    ],
)
def test_images_of_another_shape_are_refused(build):
    net = build()
    for wrong in (IMAGES[..., :16], IMAGES[:, :1], IMAGES[0]):
        with pytest.raises(ValueError, match="images: expected"):
            net(wrong)
