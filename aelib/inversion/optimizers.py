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
        (rows, n), m = point.shape, self.history_size
        none = point.new_zeros(rows)
        empty = torch.eye(m, dtype=torch.float64, device=point.device)
        return {
            "point": point,
            "from": point.clone(),  # the last point accepted, with its gradient and slope
            "gradient": torch.zeros_like(point),
            "direction": torch.zeros_like(point),
            "slope": none.clone(),
            "length": none + 1,
            "losses": none[:, None].expand(-1, self.memory) - float("inf"),  # before the first
            # A ring of steps, one of gradient changes, and a place for those not taken in.
            "pairs": point.new_zeros(rows, 2 * m + 1, n),
            "products": empty.repeat(rows, 2, 1, 1),  # sᵢ·yⱼ for i ≤ j, yᵢ·yⱼ; oldest first
            "n_pairs": none.long(),  # taken in so far
            "backtracks": none.clone(),
            "stalled": none.bool(),
        }

    def step(self, state: State, loss: Tensor, gradient: Tensor) -> State:
        """The state after one evaluation at state["point"]."""
        losses, length = state["losses"], state["length"]
        moved = torch.stack([state["point"], gradient, gradient], 1)  # (rows, 3, n)
        moved[:, 0].sub_(state["from"])
        moved[:, 1].sub_(state["gradient"])
        squares = (moved @ moved.mT).double()  # of the step, the gradient's change, the gradient
        begun = losses[:, -1] > -float("inf")
        finite = (loss + squares[:, 2, 2]).abs() < float("inf")
        bound = losses.amax(1) + self.armijo * length * state["slope"]
        accepted = finite & (~begun | (loss <= bound))  # (rows,)

        lengths = (squares[:, 0, 0] * squares[:, 1, 1]).sqrt()
        upwards = squares[:, 0, 1] > 1e-6 * lengths  # curvature
        state, dots = self._remember(state, accepted & begun & upwards, moved)
        direction = self._direction(state, dots, gradient, loss, squares[:, 2, 2])
        row = accepted[:, None]
        # Into the old state's memory: new memory costs more than what is put into it.
        start = torch.where(row, state["point"], state["from"], out=state["from"])
        gradient = torch.where(row, gradient, state["gradient"], out=state["gradient"])
        direction = torch.where(row, direction, state["direction"], out=state["direction"])

        slope = torch.where(accepted, (direction * gradient).sum(1), state["slope"])
        # A parabola through the slope and both losses says how far to go back, within reason.
        rise = loss - losses[:, -1] - length * state["slope"]
        parabola = -length.square() * state["slope"] / (2 * rise)
        shorter = parabola.where(finite & (rise > 0), 0.0)
        shorter = shorter.minimum(0.5 * length).maximum(0.1 * length)
        length = torch.where(accepted, 1.0, shorter)
        backtracks = torch.where(accepted, 0.0, state["backtracks"] + 1)
        return state | {
            "point": torch.addcmul(start, length[:, None], direction),
            "slope": slope,
            "length": length,
            "losses": torch.where(row, torch.cat([losses[:, 1:], loss[:, None]], 1), losses),
            "backtracks": backtracks,
            "stalled": (backtracks >= self.max_backtracks)
            | (accepted & (slope >= 0))
            | (~begun & ~finite),
        }

    def _remember(self, state: State, use: Tensor, moved: Tensor) -> tuple[State, Tensor]:
        """Take in the last step and gradient change of the rows that are to use them.

        Returns:
            The state, and (rows, 2, history_size): sᵢ·g and yᵢ·g of the pairs, oldest first.
        """
        m, pairs = self.history_size, state["pairs"]
        rows = torch.arange(len(use), device=use.device)
        slot = state["n_pairs"] % m
        at = torch.stack([slot, slot + m], 1).where(use[:, None], 2 * m)
        pairs[rows[:, None], at] = moved[:, :2]
        n_pairs = state["n_pairs"] + use
        order = (n_pairs[:, None] + torch.arange(m, device=use.device)) % m  # oldest first
        # Of the gradient's change and the gradient with each step and each change.
        dots = (moved[:, 1:] @ pairs[:, : 2 * m].mT).unflatten(2, (2, m))
        dots = dots.gather(3, order[:, None, None].expand(-1, 2, 2, -1)).double()
        products = state["products"].roll((-1, -1), (2, 3))
        products[..., -1] = dots[:, 0]
        products[:, 1, -1] = dots[:, 0, 1]
        products = products.where(use[:, None, None, None], state["products"])
        return state | {"n_pairs": n_pairs, "products": products}, dots[:, 1]

    def _direction(
        self, state: State, dots: Tensor, gradient: Tensor, loss: Tensor, norm: Tensor
    ) -> Tensor:
        """−H g for each row, from the pairs, their `dots` with g, and ‖g‖² for the first step."""
        m, n_pairs = self.history_size, state["n_pairs"]
        steps_changes, changes_changes = state["products"].unbind(1)
        curvature = steps_changes.diagonal(dim1=1, dim2=2)[..., None]
        u, v = dots[..., None].unbind(1)  # (rows, history_size, 1)
        polyak = loss.double().abs() / norm.where(norm > 0, 1.0)
        scale = curvature[:, -1, 0] / changes_changes[:, -1, -1]
        scale = torch.where(n_pairs > 0, scale, polyak)[:, None, None]
        a = torch.linalg.solve_triangular(steps_changes, u, upper=True)
        right = torch.addcmul(curvature * a, scale, changes_changes @ a - v)
        b = torch.linalg.solve_triangular(steps_changes.mT, right, upper=False)
        weights = torch.stack([-b, scale * a], 1)[..., 0]  # (rows, 2, history_size), oldest first
        age = (torch.arange(m, device=n_pairs.device) - n_pairs[:, None]) % m  # of each slot
        weights = weights.gather(2, age[:, None].expand(-1, 2, -1)).flatten(1).to(gradient.dtype)
        learnt = (weights[:, None] @ state["pairs"][:, : 2 * m])[:, 0]
        return learnt.addcmul_(gradient, -scale[:, 0].to(gradient.dtype))
