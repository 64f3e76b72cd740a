#!/usr/bin/env python3
"""Wall time and memory of `simplify` without validation, against the tools that do the same.

    pip install onnx==1.23.2 numpy onnxsim==0.8.1 onnxslim==0.1.98 onnxoptimizer==0.4.2
    cargo build --release && python3 benches/simplify_speed.py MODEL.onnx... [--nodes 20000] [--rounds 5] [--apart]

Every run is a process of its own, called as users call it: no tool checks its result by running it, and ours is told not to.
Runs are interleaved, so that load from elsewhere meets all alike: each finds the caches of the processor as the others left
them. With `--apart` all runs of a tool follow one another, as benchmarks of commands mostly have it. No run finds an output to
replace: what that takes is the file system's. Prints median seconds on the clock and of the processor
(which load from elsewhere hardly changes), the peak of resident memory (VmHWM, which counts the pages of the mapped input),
what part of the fastest peer's time ours is, and the peak beside a budget of 1.5 times the file plus 50 MB. A peer that
fails is said to; it counts for nothing.

Then a generated transformer of `--nodes` operators as exporters write them: shape code in front of every Reshape,
LayerNormalization and Gelu written out, Identity and Dropout left in. At half, all and double the size, which tells whether
time grows with the size alone; the peers run on the one in the middle, once. Needs Linux.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BUDGET_FACTOR, BUDGET_BYTES = 1.5, 50e6


class Run:
    """Exit code, wall seconds, processor seconds and peak resident bytes of a command."""

    def __init__(self, command):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.peak, ended = 0, 0
        while not ended:
            try:
                with open(f"/proc/{process.pid}/status") as status:
                    sizes = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")]
                self.peak = max([self.peak, *sizes])
            except OSError:
                pass
            time.sleep(0.0005)
            ended, code, usage = os.wait4(process.pid, os.WNOHANG)
        self.wall = time.perf_counter() - start
        self.busy = usage.ru_utime + usage.ru_stime
        self.code = process.returncode = os.waitstatus_to_exitcode(code)


def commands(binary, model, out):
    """What a user types for each tool; ours is first."""
    python = [sys.executable, "-m"]
    return {
        "onnx-shrink": [binary, model, "-p", "simplify", "--no-validate", "--quiet", "-o", out],
        "onnxsim": [*python, "onnxsim", model, out],
        "onnxslim": [*python, "onnxslim", model, out],
        "onnxoptimizer": [*python, "onnxoptimizer", model, out],
    }


def compare(binary, model, rounds, folder, warm=True, is_apart=False):
    """Runs every tool so many times and prints a line for each."""
    out = pathlib.Path(folder, "out.onnx")
    called = commands(binary, model, str(out))
    runs = {tool: [] for tool in called}
    failed = set()
    # The first run of each warms the page cache.
    order = [(number, tool) for number in range(rounds + warm) for tool in called]
    for number, tool in sorted(order, key=lambda turn: list(called).index(turn[1])) if is_apart else order:
        out.unlink(missing_ok=True)
        run = Run(called[tool])
        if run.code != 0:
            failed.add(tool)
        elif number >= warm:
            runs[tool].append(run)
    size = os.path.getsize(model)
    budget = BUDGET_FACTOR * size + BUDGET_BYTES
    print(f"{os.path.basename(model)}, {size / 1e6:.1f} MB")
    wall, busy, peak = {}, {}, {}
    for tool, found in runs.items():
        if tool in failed:
            print(f"    {tool:14} failed")
            continue
        wall[tool] = statistics.median(run.wall for run in found)
        busy[tool] = statistics.median(run.busy for run in found)
        peak[tool] = max(run.peak for run in found)
        print(f"    {tool:14} {wall[tool]:8.3f} s wall  {busy[tool]:8.3f} s busy  {peak[tool] / 1e6:7.1f} MB")
    ours = "onnx-shrink"
    if ours in failed:
        sys.exit(1)
    peers = [tool for tool in wall if tool != ours]
    if peers:
        fastest, idlest = min(peers, key=wall.get), min(peers, key=busy.get)
        print(
            f"    wall 1/{wall[fastest] / wall[ours]:.1f} of {fastest}, busy 1/{busy[idlest] / busy[ours]:.1f} of {idlest}"
        )
    print(f"    peak {peak[ours] / 1e6:.1f} of {budget / 1e6:.1f} MB")


class Builder:
    """Operators of a transformer, as exporters write them."""

    def __init__(self, hidden, heads):
        import numpy

        self.numpy, self.rng = numpy, numpy.random.default_rng(0)
        self.hidden, self.heads = hidden, heads
        self.nodes, self.tensors = [], []

    def op(self, kind, inputs, **attributes):
        from onnx import helper

        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [f"/{name}_output"], name=f"/{name}", **attributes))
        return f"/{name}_output"

    def constant(self, array):
        from onnx import numpy_helper

        return self.op("Constant", [], value=numpy_helper.from_array(self.numpy.asarray(array)))

    def number(self, value):
        return self.constant(self.numpy.float32(value))

    def whole(self, *values):
        return self.constant(self.numpy.array(values, dtype=self.numpy.int64))

    def weight(self, *shape):
        from onnx import numpy_helper

        values = self.rng.standard_normal(shape, dtype=self.numpy.float32) / 8
        self.tensors.append(numpy_helper.from_array(values, f"weight_{len(self.tensors)}"))
        return self.tensors[-1].name

    def extent(self, x, axis):
        index = self.constant(self.numpy.int64(axis))
        size = self.op("Gather", [self.op("Shape", [x]), index], axis=0)
        return self.op("Unsqueeze", [size, self.whole(0)])

    def reshape(self, x, *tail):
        parts = [self.extent(x, 0), self.extent(x, 1), *(self.whole(extent) for extent in tail)]
        return self.op("Reshape", [x, self.op("Concat", parts, axis=0)])

    def linear(self, x, size_in, size_out):
        product = self.op("MatMul", [x, self.weight(size_in, size_out)])
        return self.op("Add", [self.weight(size_out), product])

    def norm(self, x):
        centred = self.op("Sub", [x, self.op("ReduceMean", [x], axes=[-1])])
        variance = self.op("ReduceMean", [self.op("Pow", [centred, self.number(2)])], axes=[-1])
        deviation = self.op("Sqrt", [self.op("Add", [variance, self.number(1e-5)])])
        scaled = self.op("Mul", [self.op("Div", [centred, deviation]), self.weight(self.hidden)])
        return self.op("Add", [scaled, self.weight(self.hidden)])

    def gelu(self, x):
        erf = self.op("Erf", [self.op("Div", [x, self.number(2**0.5)])])
        return self.op("Mul", [self.op("Mul", [x, self.op("Add", [erf, self.number(1)])]), self.number(0.5)])

    def layer(self, x):
        hidden, depth = self.hidden, self.hidden // self.heads
        heads = [self.reshape(self.linear(x, hidden, hidden), self.heads, depth) for _ in range(3)]
        q, k, v = (self.op("Transpose", [h], perm=p) for h, p in zip(heads, [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]]))
        scores = self.op("Div", [self.op("MatMul", [q, k]), self.number(depth**0.5)])
        weights = self.op("Identity", [self.op("Softmax", [scores], axis=-1)])
        context = self.op("Transpose", [self.op("MatMul", [weights, v])], perm=[0, 2, 1, 3])
        context = self.op("Dropout", [self.linear(self.reshape(context, hidden), hidden, hidden)])
        x = self.norm(self.op("Add", [x, context]))
        inner = self.linear(self.gelu(self.linear(x, hidden, 2 * hidden)), 2 * hidden, hidden)
        return self.norm(self.op("Add", [x, inner]))


def generate(path, count):
    """A transformer of about so many operators; returns how many there are."""
    import onnx
    from onnx import TensorProto, helper

    builder = Builder(hidden=32, heads=4)
    value = "x"
    while len(builder.nodes) < count:
        value = builder.layer(value)
    builder.nodes.append(helper.make_node("Identity", [value], ["y"], name="/output"))
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "sequence", builder.hidden])
    graph = helper.make_graph(builder.nodes, "transformer", [info("x")], [info("y")], builder.tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return len(builder.nodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--bin", default="target/release/onnx-shrink")
    parser.add_argument("--nodes", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--apart", action="store_true", help="all runs of a tool one after the other")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out on the generated model")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            compare(options.bin, model, options.rounds, folder, is_apart=options.apart)
        path = os.path.join(folder, "transformer.onnx")
        for count in [options.nodes // 2, options.nodes, options.nodes * 2]:
            nodes = generate(path, count)
            ours = commands(options.bin, path, os.path.join(folder, "out.onnx"))["onnx-shrink"]
            found = [Run(ours) for _ in range(options.rounds)]
            wall, busy = (statistics.median(getattr(run, name) for run in found) for name in ("wall", "busy"))
            peak = max(run.peak for run in found)
            budget = BUDGET_FACTOR * os.path.getsize(path) + BUDGET_BYTES
            print(
                f"{nodes} operators, {os.path.getsize(path) / 1e6:.1f} MB: {wall:.3f} s wall, {busy:.3f} s busy, "
                f"{busy / nodes * 1e6:.1f} us an operator, peak {peak / 1e6:.1f} of {budget / 1e6:.1f} MB"
            )
            if count == options.nodes and not options.no_peers:
                compare(options.bin, path, 1, folder, warm=False)


main()
