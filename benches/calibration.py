#!/usr/bin/env python3
"""Memory and time of calibration, against ONNX Runtime just running the same samples.

    cargo build --release
    python3 benches/calibration.py MODEL.onnx [--samples 512] [--few 16] [--observer minmax] [--rounds 3]

Makes seeded samples for a model with one float input of fixed shape, and calibrates `quant8=static` on few and on many of
them with the backend `onnxruntime`. Reports

    memory  peak of many samples over that of few: calibration must not keep what it has seen
    time    wall time of many samples over that of ONNX Runtime running them from Python with as many threads, the better
            of one sample at a time on all threads and one sample a thread

Times vary on a shared machine: rounds alternate, and the median of their ratios is reported. Needs numpy and onnxruntime,
and ORT_DYLIB_PATH where the tool does not find ONNX Runtime by itself.
"""
import argparse
import concurrent.futures
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime


def peak_and_seconds(command):
    """Runs a command; its peak memory in MB (VmHWM) and its wall time."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                peak = max([peak] + [int(line.split()[1]) for line in status if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(process.stderr.read().decode())
    return peak / 1024, seconds


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def just_running(path, name, samples, threads):
    """Wall seconds of ONNX Runtime for all samples: the better of two ways to use the threads."""
    start = time.perf_counter()
    one = session(path, threads)
    for sample in samples:
        one.run(None, {name: sample})
    in_turn = time.perf_counter() - start
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def work(part):
            mine = session(path, 1)
            for sample in part:
                mine.run(None, {name: sample})

        list(pool.map(work, [samples[i::threads] for i in range(threads)]))
    return min(in_turn, time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--bin", default="target/release/onnx-shrink")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--few", type=int, default=16)
    parser.add_argument("--observer", default="minmax")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    [given] = session(args.model, 1).get_inputs()
    samples = np.random.default_rng(0).standard_normal((args.samples, *given.shape), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        data = {}
        for count in (args.few, args.samples):
            data[count] = os.path.join(folder, f"{count}.npz")
            np.savez(data[count], **{given.name: samples[:count]})
        simple = os.path.join(folder, "simple.onnx")
        subprocess.run([args.bin, args.model, "-p", "simplify", "-o", simple, "--quiet", "--force"], check=True)

        def calibrate(count):
            pipeline = f"quant8=static:observer={args.observer}"
            return peak_and_seconds(
                [args.bin, simple, "-p", pipeline, "--inputs", data[count], "--backend", "onnxruntime", "--dry-run"]
                + ["--no-validate", "--threads", str(args.threads)]
            )

        few, _ = calibrate(args.few)
        ratios, peaks = [], []
        for round in range(args.rounds):
            peak, seconds = calibrate(args.samples)
            plain = just_running(simple, given.name, samples, args.threads)
            peaks.append(peak)
            ratios.append(seconds / plain)
            print(f"round {round + 1}: {seconds:.1f} s, {peak:.0f} MB; just running: {plain:.1f} s", flush=True)
        print(f"memory: {args.few} samples {few:.0f} MB, {args.samples} samples {max(peaks):.0f} MB: x{max(peaks) / few:.2f}")
        print(f"time: x{statistics.median(ratios):.2f} of just running")


if __name__ == "__main__":
    main()
