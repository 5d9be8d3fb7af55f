"""Splits an ONNX graph in two: the part that depends only on some of its inputs, and the rest."""

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Sequence, Set, Tuple, Union

from .onnx_model import TYPES, Model


class Cut:
    """Where a graph can be split.

    Args:
        model: The model, from `read_model`; it must not be changed afterwards.
        steady: The inputs that the cached part may depend on.
    """

    def __init__(self, model: Any, steady: FrozenSet[str]) -> None:
        self._model = model
        graph = model.graph
        self._inputs = {value.name: value for value in graph.input}
        for tensor in graph.initializer:
            self._inputs.pop(tensor.name, None)
        self._makers = {name: i for i, node in enumerate(graph.node) for name in node.output}
        depends: Dict[str, Set[str]] = {name: {name} for name in self._inputs}
        for node in graph.node:
            on: Set[str] = set().union(*(depends.get(name, ()) for name in node.input))
            depends.update((name, on) for name in node.output)
        self._cached = {name for name, on in depends.items() if on and on <= steady} - set(self._inputs)
        outputs = {value.name for value in graph.output}
        self._rest, between = self._needed_for(outputs - self._cached, self._cached)
        self.between = sorted(between | (outputs & self._cached))
        """The outputs of the cached part; empty if a split is of no use."""
        # nested graphs read tensors that their node does not list; constants in other files need the original file
        hidden = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
        if hidden or any(tensor.data_location for tensor in graph.initializer) or not self._rest:
            self.between = []

    def cached(self) -> bytes:
        """The model that computes `between` from the steady inputs."""
        nodes, _ = self._needed_for(self.between, set())
        return self._part(nodes, [], self.between)

    def rest(self, types: Mapping[str, Tuple[str, Sequence[Union[int, str, None]]]]) -> bytes:
        """The model that computes the remaining outputs from `between` and the remaining inputs.

        Args:
            types: Name -> (type, shape) of each tensor of `between`, as onnxruntime reports them for the cached part;
                only types in `TYPES`.
        """
        between = Model().graph
        for name in self.between:
            kind, shape = types[name]
            tensor = between.input.add(name=name).type.tensor_type
            tensor.elem_type = TYPES[kind]
            for n in shape:
                tensor.shape.dim.add(**({"dim_value": n} if isinstance(n, int) else {}))
        outputs = [value.name for value in self._model.graph.output if value.name not in self._cached]
        return self._part(self._rest, list(between.input), outputs)

    def _needed_for(self, ends: Iterable[str], stops: Set[str]) -> Tuple[Set[int], Set[str]]:
        """The nodes needed to compute `ends` from the tensors in `stops`, and which of those tensors are needed.

        A DequantizeLinear is always included: runtimes fuse it with the node that follows.
        """
        nodes: Set[int] = set()
        stopped: Set[str] = set()
        pending = list(ends)
        while pending:
            name = pending.pop()
            i = self._makers.get(name)
            if i is None or i in nodes:
                continue
            node = self._model.graph.node[i]
            if name in stops and node.op_type != "DequantizeLinear":
                stopped.add(name)
                continue
            nodes.add(i)
            pending += node.input
        return nodes, stopped

    def _part(self, nodes: Set[int], extra: List[Any], outputs: List[str]) -> bytes:
        """Some of the nodes as a separate model, with `extra` inputs."""
        part = Model()
        part.CopyFrom(self._model)
        graph = part.graph
        for field in ("node", "input", "output", "initializer", "value_info"):
            graph.ClearField(field)
        graph.node.extend(self._model.graph.node[i] for i in sorted(nodes))
        used = {name for node in graph.node for name in node.input}
        graph.initializer.extend(tensor for tensor in self._model.graph.initializer if tensor.name in used)
        graph.input.extend(value for name, value in self._inputs.items() if name in used)
        graph.input.extend(value for value in extra if value.name in used)
        known = {value.name: value for value in self._model.graph.output}
        for name in outputs:
            graph.output.add(name=name)  # its type is inferred
            if name in known:
                graph.output[-1].CopyFrom(known[name])
        return bytes(part.SerializeToString())
