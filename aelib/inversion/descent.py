"""How it descends: gradient descent, Adam and L-BFGS, each row of a batch on its own.

An optimiser is two functions. `begin(point)` gives a state, a dictionary of tensors whose
first axis is the rows; `step(state, loss, gradient)` takes the loss (rows,) and gradient
(rows, count) at state["point"] and gives the next state, which may take over the old one's memory.
A row never sees another, nothing asks a tensor for its value, and state["stalled"] (rows,) says
where no further step can help.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aelib import checks

State = dict[str, Tensor]


class Optimiser(Protocol):
    """What `invert` asks of an optimiser."""

    def begin(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, count) and a number of steps."""

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""


@dataclass(frozen=True)
class GradientDescent:
    """x ← x − lr · g, the step size going linearly from `lr` to `last` over the steps."""

    lr: float
    last: float | None = None

    def begin(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, count)."""
        zeros = point.new_zeros(len(point))
        return {
            "point": point,
            "done": zeros,
            "steps": zeros + steps,
            "stalled": zeros.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        share = state["done"] / state["steps"]
        last = self.lr if self.last is None else self.last
        lr = self.lr * (1 - share) + last * share
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
    mean: float = 0.9
    square: float = 0.999
    floor: float = 1e-8

    def begin(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, count)."""
        zeros = torch.zeros_like(point)
        none = point.new_zeros(len(point))
        return {
            "point": point, "first": zeros, "second": zeros, "done": none, "stalled": none.bool()
        }  # fmt: skip

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        done = state["done"] + 1
        first = torch.lerp(gradient, state["first"], self.mean)
        second = torch.lerp(gradient.square(), state["second"], self.square)
        slope = first / (1 - self.mean**done)[:, None]
        size = (second / (1 - self.square**done)[:, None]).sqrt() + self.floor
        return {
            **state, "point": state["point"] - self.lr * slope / size,
            "first": first, "second": second, "done": done, "stalled": ~loss.isfinite(),
        }  # fmt: skip


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS with a state and a step length for each row, and one evaluation an iteration.

    The direction −H g comes from the last `history` pairs of steps and gradient changes in the
    compact form of Byrd, Nocedal & Schnabel (1994). A trial that does not lower the loss enough
    (Armijo's rule against the worst of the last `memory` losses) is shortened and tried again in
    the next iteration. The first step is that of Polyak (1987) for a least loss of 0, f/‖g‖²: no
    step size needs to be set, whatever the layer.

    Args:
        history: pairs kept.
        memory: losses looked back on; 1 asks every accepted step to go down.
        decrease: the share of the predicted decrease that is enough.
        tries: shortenings in a row after which a row is stalled.
    """

    history: int = 6
    memory: int = 3
    decrease: float = 1e-4
    tries: int = 12

    def __post_init__(self):
        for name in ("history", "memory", "tries"):
            checks.whole(getattr(self, name), name, least=1)

    def begin(self, point: Tensor, steps: int) -> State:
        """The state before the first step, for points (rows, count)."""
        rows, count = point.shape
        none = point.new_zeros(rows)
        pairs = point.new_zeros(rows, 2 * self.history, count)  # steps, then gradient changes
        return {
            "point": point,
            "from": point.clone(),  # the last point accepted, with its gradient and slope
            "gradient": torch.zeros_like(point),
            "direction": torch.zeros_like(point),
            "slope": none.clone(),
            "length": none + 1,
            "losses": none[:, None].expand(-1, self.memory) + float("inf"),
            "pairs": pairs,
            "products": point.new_zeros(rows, 2 * self.history, 2 * self.history),
            "kept": none.long(),  # pairs taken in so far
            "tries": none.clone(),
            "stalled": none.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        begun = torch.isfinite(state["losses"][:, -1])
        worst = torch.where(torch.isfinite(state["losses"]), state["losses"], -float("inf")).amax(1)
        bound = worst + self.decrease * state["length"] * state["slope"]
        finite = torch.isfinite(loss) & torch.isfinite(gradient).all(1)
        taken = finite & (~begun | (loss <= bound))  # (rows,)

        state = self._remember(state, taken & begun, gradient)
        row = taken[:, None]
        start = torch.where(row, state["point"], state["from"])
        slope_at = torch.where(row, gradient, state["gradient"])
        losses = torch.where(
            row, torch.cat([state["losses"][:, 1:], loss[:, None]], 1), state["losses"]
        )

        direction = torch.where(row, self._direction(state, slope_at, loss), state["direction"])
        slope = torch.where(taken, (direction * slope_at).sum(1), state["slope"])
        # A parabola through the slope and both losses says how far to go back, within reason.
        rise = loss - state["losses"][:, -1] - state["length"] * state["slope"]
        fit = -state["length"].square() * state["slope"] / (2 * rise)
        back = fit.where(finite & (rise > 0), 0.0)
        back = torch.maximum(torch.minimum(back, 0.5 * state["length"]), 0.1 * state["length"])
        length = torch.where(taken, 1.0, back)
        tries = torch.where(taken, 0.0, state["tries"] + 1)
        return {
            **state,
            "point": start + length[:, None] * direction,
            "from": start,
            "gradient": slope_at,
            "direction": direction,
            "slope": slope,
            "length": length,
            "losses": losses,
            "tries": tries,
            "stalled": (tries >= self.tries) | (taken & (slope >= 0)) | (~begun & ~finite),
        }

    def _remember(self, state: State, taken: Tensor, gradient: Tensor) -> State:
        """Take in the last step and gradient change of the rows whose trial was accepted."""
        moved = state["point"] - state["from"]
        turned = gradient - state["gradient"]
        lengths = moved.norm(dim=1) * turned.norm(dim=1)
        use = taken & ((moved * turned).sum(1) > 1e-6 * lengths)  # curvature upwards
        m, rows = self.history, torch.arange(len(moved), device=moved.device)
        slot = state["kept"] % m
        pairs, products = state["pairs"], state["products"].clone()
        for at, new in ((slot, moved), (slot + m, turned)):
            pairs[rows, at] = torch.where(use[:, None], new, pairs[rows, at])
        new = torch.stack([pairs[rows, slot], pairs[rows, slot + m]], 2)  # (rows, count, 2)
        dots = pairs @ new  # (rows, 2·history, 2)
        for at, column in ((slot, 0), (slot + m, 1)):
            products[rows, at] = dots[..., column]
            products[rows, :, at] = dots[..., column]
        return {**state, "pairs": pairs, "products": products, "kept": state["kept"] + use}

    def _direction(self, state: State, gradient: Tensor, loss: Tensor) -> Tensor:
        """−H g for each row, from the pairs in the order they came."""
        m, kept, pairs = self.history, state["kept"], state["pairs"]
        age = torch.arange(m, device=kept.device)
        order = (kept[:, None] + age) % m  # oldest first; slots not yet used come first
        there = age >= m - kept.clamp_max(m)[:, None]  # (rows, m)
        both = torch.cat([order, order + m], 1)
        products = state["products"].gather(1, both[..., None].expand(-1, -1, 2 * m))
        products = products.gather(2, both[:, None].expand(-1, 2 * m, -1)).double()
        dots = (pairs @ gradient[..., None])[..., 0].gather(1, both).double()
        square = there[:, :, None] & there[:, None]
        steps_turns = products[:, :m, m:].where(square, 0.0)  # sᵢ·yⱼ
        turns_turns = products[:, m:, m:].where(square, 0.0)
        u, v = (part.where(there, 0.0) for part in (dots[:, :m], dots[:, m:]))
        curvature = steps_turns.diagonal(dim1=1, dim2=2)
        newest = turns_turns[:, -1, -1]
        norm = gradient.square().sum(1).double()
        polyak = loss.double().abs() / norm.where(norm > 0, 1.0)
        scale = torch.where(kept > 0, curvature[:, -1] / newest.where(newest > 0, 1.0), polyak)
        upper = steps_turns.triu() + torch.diag_embed((~there).double())
        a = torch.linalg.solve_triangular(upper, u[..., None], upper=True)
        inner = torch.diag_embed(curvature) + scale[:, None, None] * turns_turns
        right = inner @ a - (scale[:, None] * v)[..., None]
        b = torch.linalg.solve_triangular(upper.mT, right, upper=False)
        weights = torch.cat([b, -scale[:, None, None] * a], 1)[..., 0]  # in the order they came
        weights = torch.zeros_like(weights).scatter(1, both, weights).to(gradient.dtype)
        step = scale.to(gradient.dtype)[:, None] * gradient + (weights[:, None] @ pairs)[:, 0]
        return -step
