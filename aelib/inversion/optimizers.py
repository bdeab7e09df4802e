"""How it descends: gradient descent, Adam and L-BFGS, each row of a batch on its own.

An optimizer is two functions. `init(point, steps)` gives a state, a dictionary of tensors whose
first axis is the rows; `step(state, loss, gradient)` takes the loss (rows,) and gradient
(rows, n) at state["point"] and gives the next state, which may take over the old one's memory.
A row never sees another, nothing asks a tensor for its value, and state["stalled"] (rows,) says
where no further step can help. So finished rows can be dropped from a state, and a step can be
replayed as a CUDA graph: torch.optim's Adam and SGD keep states that allow neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aelib import checks

State = dict[str, Tensor]


class Optimizer(Protocol):
    """What `invert` asks of an optimizer."""

    def init(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, n) and a number of steps."""
        ...

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        ...


@dataclass(frozen=True)
class GradientDescent:
    """x ← x − lr · g, the step size going linearly from `lr` to `final_lr` over the steps."""

    lr: float
    final_lr: float | None = None

    def init(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, n)."""
        zeros = point.new_zeros(len(point))
        return {
            "point": point,
            "done": zeros,
            "steps": zeros + steps,
            "stalled": zeros.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        fraction = state["done"] / state["steps"]
        final_lr = self.lr if self.final_lr is None else self.final_lr
        lr = self.lr * (1 - fraction) + final_lr * fraction
        return {
            **state,
            "point": state["point"] - lr[:, None] * gradient,
            "done": state["done"] + 1,
            "stalled": ~loss.isfinite(),
        }


@dataclass(frozen=True)
class Adam:
    """Adam, with one step size for all rows. Source: Kingma & Ba (2015), arXiv 1412.6980."""

    lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def init(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, n)."""
        zeros, none = torch.zeros_like(point), point.new_zeros(len(point))
        return {
            "point": point,
            "mean": zeros,
            "square": zeros,
            "done": none,
            "stalled": none.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        beta1, beta2 = self.betas
        done = state["done"] + 1
        mean = torch.lerp(gradient, state["mean"], beta1)
        square = torch.lerp(gradient.square(), state["square"], beta2)
        unbiased = mean / (1 - beta1**done)[:, None]
        scale = (square / (1 - beta2**done)[:, None]).sqrt() + self.eps
        return {
            **state,
            "point": state["point"] - self.lr * unbiased / scale,
            "mean": mean,
            "square": square,
            "done": done,
            "stalled": ~loss.isfinite(),
        }


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS with a state and a step length for each row, and one evaluation an iteration.

    The direction −H g comes from the last `history_size` pairs of steps and gradient changes in the
    compact form of Byrd, Nocedal & Schnabel (1994). A trial that does not lower the loss enough
    (Armijo's rule against the worst of the last `memory` losses) is shortened and tried again in
    the next iteration. The first step is that of Polyak (1987) for a least loss of 0, f/‖g‖²: no
    step size needs to be set, whatever the layer.

    Args:
        history_size: pairs kept.
        memory: losses looked back on; 1 asks every accepted step to go down.
        armijo: the share of the predicted decrease that is enough.
        max_backtracks: shortenings in a row after which a row is stalled.

    Source: Byrd, Nocedal & Schnabel (1994), "Representations of quasi-Newton matrices"; Grippo,
        Lampariello & Lucidi (1986) for the memory; the batch is ours.
    """

    history_size: int = 6
    memory: int = 3
    armijo: float = 1e-4
    max_backtracks: int = 12

    def __post_init__(self):
        for name in ("history_size", "memory", "max_backtracks"):
            checks.whole(getattr(self, name), name, least=1)

    def init(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, n)."""
        rows, n = point.shape
        none = point.new_zeros(rows)
        pairs = point.new_zeros(rows, 2 * self.history_size, n)  # steps, then gradient changes
        return {
            "point": point,
            "from": point.clone(),  # the last point accepted, with its gradient and slope
            "gradient": torch.zeros_like(point),
            "direction": torch.zeros_like(point),
            "slope": none.clone(),
            "length": none + 1,
            "losses": none[:, None].expand(-1, self.memory) + float("inf"),
            "pairs": pairs,
            "products": point.new_zeros(rows, 2 * self.history_size, 2 * self.history_size),
            "n_pairs": none.long(),  # taken in so far
            "backtracks": none.clone(),
            "stalled": none.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        begun = torch.isfinite(state["losses"][:, -1])
        worst = torch.where(torch.isfinite(state["losses"]), state["losses"], -float("inf")).amax(1)
        bound = worst + self.armijo * state["length"] * state["slope"]
        finite = torch.isfinite(loss) & torch.isfinite(gradient.abs().amax(1))
        accepted = finite & (~begun | (loss <= bound))  # (rows,)

        state = self._remember(state, accepted & begun, gradient)
        row = accepted[:, None]
        start = torch.where(row, state["point"], state["from"])
        gradient_at = torch.where(row, gradient, state["gradient"])
        losses = torch.where(
            row, torch.cat([state["losses"][:, 1:], loss[:, None]], 1), state["losses"]
        )

        direction = torch.where(row, self._direction(state, gradient_at, loss), state["direction"])
        slope = torch.where(accepted, (direction * gradient_at).sum(1), state["slope"])
        # A parabola through the slope and both losses says how far to go back, within reason.
        rise = loss - state["losses"][:, -1] - state["length"] * state["slope"]
        parabola = -state["length"].square() * state["slope"] / (2 * rise)
        shorter = parabola.where(finite & (rise > 0), 0.0)
        shorter = torch.minimum(shorter, 0.5 * state["length"])
        shorter = torch.maximum(shorter, 0.1 * state["length"])
        length = torch.where(accepted, 1.0, shorter)
        backtracks = torch.where(accepted, 0.0, state["backtracks"] + 1)
        return {
            **state,
            "point": start + length[:, None] * direction,
            "from": start,
            "gradient": gradient_at,
            "direction": direction,
            "slope": slope,
            "length": length,
            "losses": losses,
            "backtracks": backtracks,
            "stalled": (backtracks >= self.max_backtracks)
            | (accepted & (slope >= 0))
            | (~begun & ~finite),
        }

    def _remember(self, state: State, accepted: Tensor, gradient: Tensor) -> State:
        """Take in the last step and gradient change of the rows whose trial was accepted."""
        step = state["point"] - state["from"]
        change = gradient - state["gradient"]
        lengths = step.norm(dim=1) * change.norm(dim=1)
        use = accepted & ((step * change).sum(1) > 1e-6 * lengths)  # curvature upwards
        m, rows = self.history_size, torch.arange(len(step), device=step.device)
        slot = state["n_pairs"] % m
        pairs, products = state["pairs"], state["products"].clone()
        for at, new in ((slot, step), (slot + m, change)):
            pairs[rows, at] = torch.where(use[:, None], new, pairs[rows, at])
        newest = torch.stack([pairs[rows, slot], pairs[rows, slot + m]], 2)  # (rows, n, 2)
        dots = pairs @ newest  # (rows, 2·history_size, 2)
        for at, column in ((slot, 0), (slot + m, 1)):
            products[rows, at] = dots[..., column]
            products[rows, :, at] = dots[..., column]
        return {**state, "pairs": pairs, "products": products, "n_pairs": state["n_pairs"] + use}

    def _direction(self, state: State, gradient: Tensor, loss: Tensor) -> Tensor:
        """−H g for each row, from the pairs in the order they came."""
        m, n_pairs, pairs = self.history_size, state["n_pairs"], state["pairs"]
        age = torch.arange(m, device=n_pairs.device)
        order = (n_pairs[:, None] + age) % m  # oldest first; slots not yet used come first
        filled = age >= m - n_pairs.clamp_max(m)[:, None]  # (rows, m)
        both = torch.cat([order, order + m], 1)
        products = state["products"].gather(1, both[..., None].expand(-1, -1, 2 * m))
        products = products.gather(2, both[:, None].expand(-1, 2 * m, -1)).double()
        dots = (pairs @ gradient[..., None])[..., 0].gather(1, both).double()
        square = filled[:, :, None] & filled[:, None]
        steps_changes = products[:, :m, m:].where(square, 0.0)  # sᵢ·yⱼ
        changes_changes = products[:, m:, m:].where(square, 0.0)
        u, v = dots[:, :m].where(filled, 0.0), dots[:, m:].where(filled, 0.0)
        curvature = steps_changes.diagonal(dim1=1, dim2=2)
        newest = changes_changes[:, -1, -1]
        norm = gradient.square().sum(1).double()
        polyak = loss.double().abs() / norm.where(norm > 0, 1.0)
        scale = torch.where(n_pairs > 0, curvature[:, -1] / newest.where(newest > 0, 1.0), polyak)
        upper = steps_changes.triu() + torch.diag_embed((~filled).double())
        a = torch.linalg.solve_triangular(upper, u[..., None], upper=True)
        inner = torch.diag_embed(curvature) + scale[:, None, None] * changes_changes
        right = inner @ a - (scale[:, None] * v)[..., None]
        b = torch.linalg.solve_triangular(upper.mT, right, upper=False)
        weights = torch.cat([b, -scale[:, None, None] * a], 1)[..., 0]  # in the order they came
        weights = torch.zeros_like(weights).scatter(1, both, weights).to(gradient.dtype)
        step = scale.to(gradient.dtype)[:, None] * gradient + (weights[:, None] @ pairs)[:, 0]
        return -step
