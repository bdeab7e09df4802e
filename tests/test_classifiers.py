"""Small classifiers and the U-Net's neighbours: shapes, nodes, ratios, slow plain versions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aelib import models, training
from aelib.objectives import classify

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


BUILDS = {
    "resnet": lambda shape: models.SmallResNet(shape, 5, width=4, depth=2),
    "vit": lambda shape: models.SmallViT(shape, 5, patch=4, width=16, depth=2, heads=2),
    "conv": lambda shape: models.SmallConvNet(shape, 5, width=4),
}


def outputs(model, images):
    """All that each node returned, by its name."""
    returned = {name: [] for name, _ in model.named_modules()}
    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: returned[name].append(output))
        for name, module in model.named_modules()
    ]
    model(images)
    for handle in handles:
        handle.remove()
    return returned


def test_the_small_resnet_keeps_what_resnet_50_keeps():
    """ResNet-50's own: 64 × 112², 256 × 56², 512 × 28², 1024 × 14², 2048 × 7² of 3 × 224²."""
    own = [64 * 112**2, 256 * 56**2, 512 * 28**2, 1024 * 14**2, 2048 * 7**2]
    model = models.SmallResNet(IMAGES.shape[1:], classes=5).eval()
    returned = outputs(model, IMAGES)
    names = ["stem", "stage1", "stage2", "stage3", "stage4"]
    ours = [returned[name][0][0].numel() / IMAGES[0].numel() for name in names]
    assert ours == pytest.approx([elements / (3 * 224**2) for elements in own])
    assert returned["pool"][0].shape == (3, 512)
    assert returned["head"][0].shape == (3, 5)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("resnet", ["stem", "stage1", "stage2", "stage3", "stage4", "pool", "head"]),
        ("vit", ["embedding", "block0", "block1", "token", "head"]),
        ("conv", ["body", "features", "head"]),
    ],
)
def test_each_node_runs_once_and_returns_one_tensor(name, nodes):
    model = BUILDS[name]((3, 32, 32)).eval()
    returned = outputs(model, IMAGES)
    assert [name for name, _ in model.named_children()] == nodes
    for node in nodes:
        (output,) = returned[node]
        assert len(output) == len(IMAGES)
    assert torch.equal(returned["head"][0], model(IMAGES))
    assert torch.allclose(model(IMAGES[1:2]), model(IMAGES)[1:2], atol=1e-5)


def test_a_transformer_block_is_attention_written_out():
    torch.manual_seed(0)
    width, heads = 8, 2
    model = models.SmallViT((1, 8, 8), 3, patch=4, width=width, depth=1, heads=heads).double()
    tokens = torch.randn(2, 5, width, dtype=torch.float64)
    block = model.block0
    queries, keys, values = block.qkv(block.before_attention(tokens)).split(width, dim=-1)
    attended = torch.empty_like(tokens)
    for index in range(2):
        for head in range(heads):
            own = slice(head * width // heads, (head + 1) * width // heads)
            for token in range(5):
                scores = torch.stack(
                    [queries[index, token, own] @ keys[index, other, own] for other in range(5)]
                )
                shares = (scores / math.sqrt(width // heads)).exp()
                shares = shares / shares.sum()
                attended[index, token, own] = sum(
                    share * values[index, other, own] for other, share in enumerate(shares)
                )
    middle = tokens + block.proj(attended)
    assert torch.allclose(block(tokens), middle + block.mlp(block.before_mlp(middle)), atol=1e-10)


def test_patches_become_tokens_in_reading_order():
    model = models.SmallViT((1, 4, 6), 3, patch=2, width=8, depth=1, heads=2)
    image = torch.rand(1, 1, 4, 6)
    embedding = model.embedding
    tokens = embedding(image)
    assert tokens.shape == (1, 1 + 6, 8)
    weight, bias = embedding.patches.weight, embedding.patches.bias
    second = image[0, :, 0:2, 2:4].flatten() @ weight.flatten(1).T + bias
    assert torch.allclose(tokens[0, 2], second + embedding.positions[0, 2], atol=1e-6)
    assert torch.equal(tokens[0, 0], (embedding.class_token + embedding.positions)[0, 0])


def test_the_head_sees_the_class_token_alone():
    model = models.SmallViT((1, 8, 8), 3, patch=4, width=8, depth=1, heads=2)
    tokens = torch.randn(2, 5, 8)
    other = torch.cat([tokens[:, :1], torch.randn(2, 4, 8)], 1)
    assert torch.equal(model.token(tokens), model.token(other))
    assert torch.equal(model.token(tokens), nn.functional.layer_norm(tokens[:, 0], (8,)))


@pytest.mark.parametrize("name", BUILDS)
def test_each_learns_to_tell_left_from_right(name):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = 0.2 * torch.rand(64, 1, 16, 16, generator=generator)
    images[labels == 0, :, :, :8] += 0.5
    images[labels == 1, :, :, 8:] += 0.5
    torch.manual_seed(1)
    model = BUILDS[name]((1, 16, 16))
    training.fit(model, images, labels=labels, objective=classify, steps=60, batch_size=32, lr=3e-3)
    with models.evaluating(model):
        assert (model(images).argmax(1) == labels).float().mean() > 0.95


def test_the_book_s_judge_is_this_net_layer_by_layer():
    """A plain list of layers, drawn from the same seed: the same weights, features and classes."""

    def block(before, after, stride=1):
        return nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()

    def plain():
        convolutions = *block(1, 16), *block(16, 32, 2), *block(32, 32), *block(32, 64, 2)
        return nn.Sequential(
            *convolutions, nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10)
        )

    (expected,) = models.replicate(plain, 1)
    (model,) = models.replicate(lambda: models.SmallConvNet((1, 8, 8), 10), 1)
    digits = IMAGES[:, :1, :8, :8]
    assert torch.equal(model(digits), expected(digits))
    assert torch.equal(model.describe(digits), expected[:-1](digits))


def test_the_conv_net_takes_sizes_that_4_divides_and_8_does_not():
    model = models.SmallConvNet((3, 12, 20), 5, width=4, features=6).eval()
    images = IMAGES[..., :12, :20]
    assert model.body(images).shape == (3, 16 * 3 * 5)
    assert model.describe(images).shape == (3, 6)
    assert model(images).shape == (3, 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.SmallResNet((3, 24, 32), 5), "^shape: .* divisible by 16"),
        (lambda: models.SmallResNet((3, 32, 32), 0), "^classes: "),
        (lambda: models.SmallViT((3, 30, 32), 5), "^shape: .* divisible by 4"),
        (lambda: models.SmallViT((3, 32, 32), 5, heads=5), "^heads: .* divisor of width=64, got 5"),
        (lambda: models.SmallConvNet((1, 6, 8), 5), "^shape: .* divisible by 4"),
        *(
            (lambda build=build: build((3, 16, 16))(IMAGES), "^images: ")
            for build in BUILDS.values()
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
