#!/usr/bin/env python3
"""Wall time and memory of weight quantization on large models, against `cp` of the same file.

    cargo build --release && python3 benches/large_models.py MODEL.onnx [--gigabytes 2.5] [--rounds 7]

Two jobs, both `-p quant8=weights --no-validate`: MODEL, interleaved with `cp`; and a generated model of so many gigabytes
whose weights lie in a side file. Prints medians, the peak of all resident memory (which counts the pages of the mapped
input), and the peak of anonymous memory (which does not). Needs `pip install onnx numpy` for the second job and Linux.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def measure(command):
    """Wall seconds, peak resident and peak anonymous megabytes of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    resident = anonymous = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                fields = {line.split(":")[0]: line.split() for line in status}
            resident = max(resident, int(fields["VmHWM"][1]))
            anonymous = max(anonymous, int(fields["RssAnon"][1]))
        except (OSError, KeyError):
            pass
        time.sleep(0.001)
    wall = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{command} exited with {process.returncode}")
    return wall, resident / 1024, anonymous / 1024


def generate(folder, gigabytes):
    """A chain of MatMul with 64 MB weights in a side file."""
    import numpy
    import onnx
    from onnx import TensorProto, helper

    size = 4096
    count = max(1, round(gigabytes * 1e9 / (size * size * 4)))
    rng = numpy.random.default_rng(0)
    nodes, tensors, value = [], [], "x"
    with open(os.path.join(folder, "large.onnx.data"), "wb") as side:
        for index in range(count):
            block = (rng.standard_normal((size, size), dtype=numpy.float32) / 64).tobytes()
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[size, size])
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in [("location", "large.onnx.data"), ("offset", str(side.tell())), ("length", str(len(block)))]:
                tensor.external_data.add(key=key, value=text)
            side.write(block)
            tensors.append(tensor)
            output = "y" if index == count - 1 else f"h{index}"
            nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [output], name=f"matmul{index}"))
            value = output
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
    graph = helper.make_graph(nodes, "large", [info("x")], [info("y")], tensors)
    path = os.path.join(folder, "large.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--bin", default="target/release/onnx-shrink")
    parser.add_argument("--gigabytes", type=float, default=2.5)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    job = lambda model, out: [options.bin, model, "-p", "quant8=weights", "--no-validate", "--quiet", "-o", out]

    with tempfile.TemporaryDirectory(dir=".") as folder:
        out = os.path.join(folder, "out.onnx")
        copies, runs = [], []
        for _ in range(options.rounds + 1):
            copies.append(measure(["cp", options.model, os.path.join(folder, "copy.onnx")]))
            runs.append(measure(job(options.model, out)))
        copies, runs = copies[1:], runs[1:]  # the first round warms the page cache
        cp, tool = (statistics.median(r[0] for r in rows) for rows in (copies, runs))
        ratio = statistics.median(b[0] / a[0] for a, b in zip(copies, runs))
        print(f"{options.model}: cp {cp:.3f} s, quant8=weights {tool:.3f} s, ratio {ratio:.2f}")
        print(f"    peak resident {max(r[1] for r in runs):.0f} MB, peak anonymous {max(r[2] for r in runs):.0f} MB")

        if shutil.disk_usage(folder).free < 3 * options.gigabytes * 1e9:
            sys.exit("not enough disk for the generated model")
        path = generate(folder, options.gigabytes)
        side = os.path.getsize(path + ".data")
        wall, resident, anonymous = measure(job(path, out))
        print(f"generated model of {side / 1e9:.2f} GB: {wall:.1f} s, peak anonymous {anonymous:.0f} MB")


main()
