"""The U-Net and the sampler over bare versions: a training step, and a step of DDIM."""

from __future__ import annotations

import copy
import math
from statistics import median

import torch
from timing import ratio, side_by_side
from torch import nn

import aelib as ae
from aelib import random, runtime

# image side, channels, width, downs, batch, steps of one timing
SIZES = ((8, 1, 16, 1, 64, 60), (16, 3, 32, 2, 32, 15))
TIMES = 200


class Bare(nn.Module):
    """The same layers, called by hand: no checks, no levels, nothing optional."""

    def __init__(self, net: ae.models.DiffusionUNet):
        super().__init__()
        self.net = net
        half = net.width // 2
        self.rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half))

    def block(self, block: nn.Module, hidden: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        inner = block.first(hidden) + block.time_proj(told)[:, :, None, None]
        return block.shortcut(hidden) + block.second(inner)

    def attend(self, part: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        height, width = hidden.shape[2:]
        asked = part.qkv(part.norm(hidden)).view(len(hidden), 3, part.heads, -1, height * width)
        queries, keys, values = asked.transpose(-2, -1).unbind(1)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return hidden + part.proj(seen.transpose(-2, -1).reshape(hidden.shape))

    def level(self, level: nn.Module, hidden: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        hidden = self.block(level.block, hidden, told)
        return hidden if level.attention is None else self.attend(level.attention, hidden)

    def forward(self, images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        net = self.net
        angles = times[:, None] * self.rates
        told = net.time_embedding(torch.cat([angles.sin(), angles.cos()], 1))
        hidden, kept = net.stem(images), []
        for number, level in enumerate(net.encoder):
            hidden = self.level(level, hidden, told)
            kept.append(hidden)
            hidden = net.down[number](hidden) if number < len(net.down) else hidden
        hidden = self.block(net.mid.block1, hidden, told)
        hidden = self.attend(net.mid.attention, hidden)
        hidden = self.block(net.mid.block2, hidden, told)
        for number in reversed(range(len(net.decoder))):
            hidden = net.up[number](hidden) if number < len(net.up) else hidden
            joined = torch.cat([hidden, kept.pop()], 1)
            hidden = self.level(net.decoder[number], joined, told)
        return net.output(hidden)


def bare_training(net: nn.Module, images: torch.Tensor, batch: int, steps: int) -> None:
    """Noise prediction as anyone would write it."""
    device = runtime.device()
    net, images = net.to(device).train(), images.to(device)
    alphas = torch.tensor(ae.objectives.cosine_schedule(TIMES).alphas_cumprod).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    for _ in range(steps):
        drawn = 2 * images[torch.randint(len(images), (batch,), device=device)] - 1
        times = torch.randint(TIMES, (batch,), device=device)
        noise, share = torch.randn_like(drawn), alphas[times].view(-1, 1, 1, 1)
        answer = net(share.sqrt() * drawn + (1 - share).sqrt() * noise, times)
        (answer - noise).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def bare_sampling(net: nn.Module, shape: tuple[int, ...], n: int, steps: int) -> torch.Tensor:
    """DDIM as anyone would write it."""
    alphas = ae.objectives.cosine_schedule(TIMES).alphas_cumprod
    times = torch.linspace(TIMES - 1, 0, steps).round().long().tolist()
    device = next(net.parameters()).device
    state = torch.randn(n, *shape).to(device)
    for number, time in enumerate(times):
        now, then = alphas[time], alphas[times[number + 1]] if number + 1 < steps else 1.0
        noise = net(state, torch.full((n,), time, device=device))
        guess = ((state - math.sqrt(1 - now) * noise) / math.sqrt(now)).clamp(-1, 1)
        noise = (state - math.sqrt(now) * guess) / math.sqrt(1 - now)
        state = math.sqrt(then) * guess + math.sqrt(1 - then) * noise
    return (state + 1) / 2


def measure(quick: bool) -> list[dict]:
    """One row a size, on one thread; seconds are of the processor where that is the CPU."""
    rows = []
    schedule = ae.objectives.cosine_schedule(TIMES)
    objective = ae.objectives.diffusion(schedule)
    for side, channels, width, downs, batch, steps in SIZES:
        shape = (channels, side, side)
        images = torch.rand(500, *shape, generator=random.generator(0))
        net = ae.models.DiffusionUNet(shape, width, downs, steps=TIMES)
        plain = Bare(copy.deepcopy(net))
        settings = {"steps": steps, "batch_size": batch, "log_at": [steps]}
        training = {
            "bare": lambda plain=plain, images=images, batch=batch, steps=steps: bare_training(
                plain, images, batch, steps
            ),
            "aelib": lambda net=net, images=images, settings=settings: ae.fit(
                net, images, objective=objective, **settings
            ),
        }
        device = runtime.device()
        sampling = {
            "bare": lambda plain=plain, shape=shape, batch=batch, steps=steps: bare_sampling(
                plain, shape, batch, 2 * steps
            ),
            "aelib": lambda net=net, batch=batch, steps=steps: ae.sampling.sample(
                net, schedule, batch, steps=2 * steps
            ),
        }
        with runtime.threads(1):
            cpu = runtime.is_cpu(device)
            rounds = 3 if quick else 11
            taught = side_by_side(training, rounds, cpu)
            net.to(device), plain.to(device).eval()
            drawn = side_by_side(sampling, rounds, cpu)
        rows.append(
            {
                "images": f"{channels}x{side}x{side}, width {width}",
                "batch": batch,
                "bare_ms_a_training_step": 1e3 * median(taught["bare"]) / steps,
                "training_ratio": ratio(taught["aelib"], taught["bare"]),
                "bare_ms_a_sampling_step": 1e3 * median(drawn["bare"]) / (2 * steps),
                "sampling_ratio": ratio(drawn["aelib"], drawn["bare"]),
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    """The rows in print."""
    lines = ["U-Net over bare versions   train, ms    ratio   sample, ms    ratio"]
    lines += [
        f"{row['images']:<22}{row['bare_ms_a_training_step']:>14.2f}{row['training_ratio']:>9.3f}"
        f"{row['bare_ms_a_sampling_step']:>13.2f}{row['sampling_ratio']:>9.3f}"
        for row in rows
    ]
    return "\n".join(lines)
