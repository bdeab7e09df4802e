"""A descent on a GPU that never waits: steps replayed as one graph, values fetched in passing."""

from __future__ import annotations

from collections.abc import Callable

import torch


class AsyncCopy:
    """A device's value on its way to the host, which does not wait for it."""

    def __init__(self, value: torch.Tensor):
        self.value = value.new_empty(
            value.shape, device=torch.Generator().device, pin_memory=value.is_cuda
        )
        self.value.copy_(
            value, non_blocking=value.is_cuda
        )  # elsewhere nothing says when it is there
        self._event = torch.Event(value.device) if value.is_cuda else None
        if self._event is not None:
            self._event.record()

    def arrived(self) -> bool:
        """Whether `value` may be read."""
        return self._event is None or self._event.query()


def cuda_graph(step: Callable, warm: int = 3) -> Callable:
    """`step(state, aim)` recorded once as a CUDA graph and replayed; for one shape of arguments.

    `state` and `aim` are dictionaries of tensors; the first of the results is the next state. The
    results are overwritten by the next call, and `aim` is that of the first.
    """
    graph, static, results = None, {}, ()

    def replay(state: dict, aim: dict) -> tuple:
        nonlocal graph, static, results
        if graph is None:
            static = {key: value.clone() for key, value in state.items()}
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # lets libraries set themselves up outside the graph
                for _ in range(warm):
                    step({key: value.clone() for key, value in static.items()}, aim)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                results = step(static, aim)
        for key, value in static.items():
            value.copy_(state[key])
        graph.replay()
        return results

    return replay
