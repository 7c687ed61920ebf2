"""What a glyph costs: glyphs a second, start-up, memory and the time of a single glyph.

    python tests/bench/glyphs.py [MODEL] [--rounds N] [--json FILE]

The network of a model folder is run by LiteRT as shipped and as fp32 (what its arithmetic
costs without int8 weights), and by Keras as a plain program would; by turns, and the middle of
the times is printed; of start-up and memory the least of five fresh processes. LiteRT runs on
one thread, and on two in two ways: its own, which divide every convolution, and
`load_model(threads=2)`, which gives each thread batches of its own.
fp32 and Keras need TensorFlow and are left out where it is not installed; Keras uses all cores.

Wanted on two cores: at least 60,000 glyphs a second; imported and loaded in under 0.1 s, with
numpy's import; under 80 MB. The ratios hold on any machine that does nothing else; the figures
on this one.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from digitocr import resources
from digitocr.recognition.classifier import MICRO_BATCHES, load_model
from digitocr.recognition.folders import CARD, NETWORK, without_chatter

ONE, LITERT_TWO, TWO = "1 thread", "2 of LiteRT", "2, batches of their own"
KERAS_CALLS = {2048: 1, 32: 16, 1: 16}  # glyphs a call → calls a round
GLYPHS, SINGLE = 4096, 64

Glyphs = NDArray[np.float32]
Work = dict[str, tuple[int, Callable[[], object]]]  # name → glyphs, and what classifies them

# Run by a fresh Python: nothing of this file's imports is in its times or its memory. Glyphs
# come by the page, as in reading.
FRESH = """
import resource, sys, time
began = time.perf_counter()
import numpy as np
numpy = time.perf_counter()
from digitocr.recognition.classifier import load_model
from pathlib import Path
model = load_model(Path(sys.argv[1]))
ready = time.perf_counter()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
loaded = peak()
page = np.random.default_rng(1).random((250, 28, 28), np.float32)
for _ in range(40):
    model.classify(page)
print(numpy - began, ready - numpy, loaded, peak())
"""


def glyphs_per_s(work: Work, rounds: int) -> dict[str, float]:
    """Do every piece of work in turn, again and again; give the glyphs a second of each."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, (_, run) in work.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: work[name][0] / statistics.median(times[name][1:]) for name in work}


def litert_two(network: Path, glyphs: Glyphs) -> Callable[[], object]:
    """Run micro-batches on one interpreter that has two threads."""
    size = MICRO_BATCHES[0]
    with without_chatter():
        interpreter = Interpreter(model_path=network, num_threads=2)
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(source, (size, 28, 28, 1))
        interpreter.allocate_tensors()

    def run() -> None:
        for start in range(0, len(glyphs), size):
            interpreter.set_tensor(source, glyphs[start : start + size, ..., None])
            interpreter.invoke()
            interpreter.get_tensor(target)

    return run


def litert_work(folder: Path, name: str, glyphs: Glyphs) -> Work:
    one, two = load_model(folder).classify, load_model(folder, threads=2).classify
    return {
        f"{name}, {ONE}": (len(glyphs), lambda: one(glyphs)),
        f"{name}, {LITERT_TWO}": (len(glyphs), litert_two(folder / NETWORK, glyphs)),
        f"{name}, {TWO}": (len(glyphs), lambda: two(glyphs)),
        f"{name}, one by one": (SINGLE, lambda: [one(g[None]) for g in glyphs[:SINGLE]]),
    }


def keras_work(folder: Path, scratch: Path, glyphs: Glyphs) -> Work:
    """Convert `model.keras` to fp32; give the work for that, and for Keras itself."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with without_chatter():
        import keras
        import tensorflow as tf

        network = keras.models.load_model(folder / "model.keras", compile=False)
        network.export(scratch / "saved", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(scratch / "saved"))
        (scratch / NETWORK).write_bytes(converter.convert())
    shutil.copy(folder / CARD, scratch)
    work = litert_work(scratch, "LiteRT fp32", glyphs)
    for size, calls in KERAS_CALLS.items():
        part = glyphs[:size, ..., None]

        def predict(part: Glyphs = part, size: int = size, calls: int = calls) -> None:
            for _ in range(calls):
                network.predict(part, batch_size=size, verbose=0)

        work[f"Keras predict, {size} a call"] = (size * calls, predict)
    return work


def measure_start(model: Path, runs: int) -> dict[str, float]:
    """Start Python afresh, its bytecode on disk as where digitocr is installed."""
    found = []
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(runs + 1):
            done = subprocess.run(
                [sys.executable, "-c", FRESH, model],
                env=env,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found.append([float(word) for word in done.stdout.split()])
    least = [min(column) for column in zip(*found[1:], strict=True)]
    return dict(zip(("numpy_s", "load_s", "loaded_mb", "peak_mb"), least, strict=True))


def machine() -> dict[str, object]:
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return {
        "processor": name or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=resources.default_model())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file to append the figures to, as a line")
    arguments = parser.parse_args()
    model = arguments.model.resolve()
    where = machine()
    print(
        f"{model.name} on {where['processor']}, {where['cores']} cores, load {where['load']}, "
        f"Python {where['python']}; middle of {arguments.rounds}"
    )

    # First: a process inherits the peak memory of the one that starts it.
    start = measure_start(model, 5)
    ready = start["numpy_s"] + start["load_s"]
    print(
        f"ready after {ready:.3f} s: numpy {start['numpy_s']:.3f}, "
        f"classifier and model {start['load_s']:.3f} (wanted: under 0.1 together)"
    )
    print(
        f"memory {start['loaded_mb']:.0f} MB loaded, {start['peak_mb']:.0f} MB after 10,000 "
        "glyphs (wanted: under 80)"
    )

    glyphs = np.random.default_rng(1).random((GLYPHS, 28, 28), np.float32)
    work = litert_work(model, "LiteRT as shipped", glyphs)
    with tempfile.TemporaryDirectory() as scratch:
        if not (model / "model.keras").is_file():
            print("LiteRT fp32 and Keras: left out, the folder has no model.keras")
        elif importlib.util.find_spec("tensorflow") is None:
            print("LiteRT fp32 and Keras: left out, TensorFlow is not installed")
        else:
            work |= keras_work(model, Path(scratch), glyphs)
        speeds = glyphs_per_s(work, arguments.rounds)
    shipped = speeds[f"LiteRT as shipped, {ONE}"]
    print(f"{'':<44}{'glyphs/s':>10}{'us/glyph':>10}{'ratio':>10}")
    for name, speed in speeds.items():
        print(f"{name:<44}{speed:>10,.0f}{1e6 / speed:>10.1f}{speed / shipped:>10.3g}")
    print("wanted on two cores: 60,000 glyphs/s")

    if arguments.json is not None:
        line = {
            "bench": "glyphs",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": model.name,
            "machine": where,
            **{key: round(value, 4) for key, value in start.items()},
            "glyphs_per_s": {name: round(speed) for name, speed in speeds.items()},
        }
        with arguments.json.open("a", encoding="utf-8") as file:
            print(json.dumps(line), file=file)


if __name__ == "__main__":
    main()
