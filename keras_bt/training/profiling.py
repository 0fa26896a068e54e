"""Profiles of training: the time of each stage of a step, and of each part of a run."""

import collections
import contextlib
import functools
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

STAGES = ("views", "encoder", "projector", "loss", "optimizer")
STEP = "keras_bt step"  # the name of a step in the trace
WAITING, REST, COMPILED = "waiting for input", "rest", "compiled step"
OPERATION = re.compile(r"[^\s:]+:\w+")  # name and type of an operation
SETTLING_STEPS = 3  # not counted: while tracing starts, `tf.data` prepares batches in advance

Event = tuple[str, str, float]  # thread, name, seconds


class StepProfile(keras.callbacks.Callback):
    """Measures the time of each stage of `BarlowTwins.fit`'s steps, by tracing some of them.

    The wait for images is measured. Operations overlap in several threads. So the rest is divided
    in proportion to the time of each stage's operations, gradients included. Name scopes in the
    graph show the stage of an operation.

    A step compiled by XLA has no stages, because its operations are fused. On a GPU the trace
    holds the launches of operations, so that only the wait for images is reliable.

    Args:
        warm_up_steps: Steps before tracing begins, at least 1.
        steps: Steps to trace, at least 1; they may belong to several epochs.

    Attributes:
        result: None until all steps are traced or the training ends; then a dict that JSON can
            hold:
            "steps": number of traced steps;
            "seconds": duration of a traced step;
            "shares": share of each stage, of "waiting for input" and of "rest" in the time of a
                step; they sum to 1;
            "input_threads": mean number of threads that read, decode and augment images;
            "input_views": share of views in the time of these threads.

    Raises:
        ValueError: If an argument is less than 1.

    Example:
        >>> import keras_bt
        >>> images = tf.data.Dataset.from_tensors(tf.zeros([4, 8, 8, 3])).repeat()
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> views = keras_bt.small_image_views(8, seed=0)
        >>> model = keras_bt.BarlowTwins(encoder, keras_bt.projector(192, (4,)), views)
        >>> model.compile("sgd")
        >>> profile = StepProfile(warm_up_steps=1, steps=2)
        >>> _ = model.fit(images, steps_per_epoch=7, verbose=0, callbacks=[profile])
        >>> profile.result["steps"], list(profile.result["shares"])[:3]
        (2, ['waiting for input', 'views', 'encoder'])
    """

    def __init__(self, warm_up_steps: int = 10, steps: int = 20) -> None:
        super().__init__()
        if warm_up_steps < 1 or steps < 1:
            raise ValueError(
                f"warm_up_steps and steps must be at least 1, got {warm_up_steps} and {steps}."
            )
        self.warm_up_steps = warm_up_steps
        self.steps = steps
        self.result: dict[str, Any] | None = None
        self._step = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        self._marker: tf.profiler.experimental.Trace | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step, self._folder, self._marker = 0, None, None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._step == self.warm_up_steps and self.result is None:
            self._folder = tempfile.TemporaryDirectory()
            options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
            tf.profiler.experimental.start(self._folder.name, options)
        if self._folder and self._step >= self.warm_up_steps + SETTLING_STEPS:
            self._marker = tf.profiler.experimental.Trace(STEP)
            self._marker.__enter__()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        if self._marker:
            float(logs["loss"])  # waits until the device has finished the step
            self._end_marker()
        if self._step == self.warm_up_steps + SETTLING_STEPS + self.steps:
            self._stop()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._end_marker()
        self._stop()

    def _end_marker(self) -> None:
        if self._marker:
            self._marker.__exit__(None, None, None)
        self._marker = None

    def _stop(self) -> None:
        """Ends the trace and computes the result."""
        if not self._folder:
            return
        tf.profiler.experimental.stop()
        with self._folder as folder:
            self.result = _step_profile(_events_in_steps(Path(folder)), _stage_finder(self.model))
        self._folder = None
        if self.result and self.model.jit_compile:
            waiting = self.result["shares"][WAITING]
            self.result["shares"] = {WAITING: waiting, COMPILED: 1.0 - waiting}


class Stopwatch:
    """Measures the time of each part of a run.

    Example:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch.measure("scoring"):
        ...     pass
        >>> shares = stopwatch.shares()
        >>> sorted(shares), round(sum(shares.values()), 6)
        (['rest', 'scoring'], 1.0)
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._begin = time.perf_counter()
        self._inner_seconds: list[float] = []  # of the parts inside each open block

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time of a block to a part, without the parts measured inside the block.

        Args:
            part: Name of the part.
        """
        begin, nested = time.perf_counter(), bool(self._inner_seconds)
        self._inner_seconds.append(0.0)
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self.seconds[part] += seconds - self._inner_seconds.pop()
            if nested:
                self._inner_seconds[-1] += seconds

    def measure_method(self, instance: object, name: str, part: str) -> None:
        """Adds the time of all later calls of a method to a part.

        Args:
            instance: The object.
            name: Name of the method.
            part: Name of the part.
        """
        method = getattr(instance, name)

        @functools.wraps(method)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.measure(part):
                return method(*args, **kwargs)

        setattr(instance, name, measured)

    def shares(self) -> dict[str, float]:
        """The share of each part in the time since the stopwatch was made, and of the rest."""
        total = time.perf_counter() - self._begin
        shares = {part: seconds / total for part, seconds in self.seconds.items()}
        return {**shares, REST: 1.0 - sum(shares.values())}


def format_profile(profile: Mapping[str, Any]) -> str:
    """Formats a profile as text, one line per share.

    Args:
        profile: {"step": `StepProfile.result`, "run": `Stopwatch.shares()`}.

    Returns:
        A table for the step, if there is one, and a table for the run.

    Example:
        >>> print(format_profile({"step": None, "run": {"scoring": 0.012, "training": 0.988}}))
        share of the run's time
            98.8 %  training
             1.2 %  scoring
    """
    tables = {"share of the run's time": profile["run"]}
    if step := profile["step"]:
        title = (
            f"share of a step's {1000 * step['seconds']:.1f} ms; input used "
            f"{step['input_threads']:.2f} threads"
        )
        if step["input_views"]:
            title += f", {100 * step['input_views']:.0f} % of their time for views"
        tables = {title: step["shares"], **tables}
    lines = []
    for title, shares in tables.items():
        rows = sorted(shares.items(), key=lambda row: -row[1])
        lines += [title, *(f"{100 * share:8.1f} %  {name}" for name, share in rows)]
    return "\n".join(lines)


def _stage_finder(model: keras.Model) -> Callable[[str], str]:
    """A function from the name of an operation to its stage."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a loss scale
    stages = {**dict(zip(STAGES, STAGES, strict=True)), "view_a": "views", "view_b": "views"}
    stages |= {model.optimizer.name: "optimizer", optimizer.name: "optimizer"}
    scope = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, stages))})(?:_\d+)?(?=/)")

    @functools.cache
    def stage_of(name: str) -> str:
        match = scope.search(name)
        return stages[match[1]] if match else REST

    return stage_of


def _events_in_steps(folder: Path) -> list[Event]:
    """The events of a trace that begin inside a marked step."""
    # A trace is a protocol buffer, and TensorFlow 2.21 ships a reader.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    events = []
    for file in folder.rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    begin = 1000 * line.timestamp_ns + event.offset_ps
                    events.append((begin, line.name, name, event.duration_ps))
    steps = [(begin, begin + duration) for begin, _, name, duration in events if name == STEP]
    return [
        (thread, name, duration / 1e12)
        for begin, thread, name, duration in events
        if any(first <= begin < last for first, last in steps)
    ]


def _step_profile(events: list[Event], stage_of: Callable[[str], str]) -> dict[str, Any] | None:
    """`StepProfile.result`, or None if no step was traced."""
    steps, waiting = [], 0.0
    step_seconds: dict[str, float] = collections.defaultdict(float)
    input_seconds: dict[str, float] = collections.defaultdict(float)
    for thread, name, seconds in events:
        if name == STEP:
            steps.append(seconds)
        elif "IteratorGetNext" in name and name.endswith("::DoCompute"):
            waiting += seconds
        elif OPERATION.fullmatch(name):
            counter = input_seconds if thread.startswith("tf_data") else step_seconds
            counter[stage_of(name)] += seconds
    if not steps:
        return None
    total, busy, total_input = sum(steps), sum(step_seconds.values()), sum(input_seconds.values())
    waiting = min(waiting / total, 1.0)
    shares = {stage: (1.0 - waiting) * step_seconds[stage] / (busy or 1.0) for stage in STAGES}
    return {
        "steps": len(steps),
        "seconds": total / len(steps),
        "shares": {WAITING: waiting, **shares, REST: 1.0 - waiting - sum(shares.values())},
        "input_threads": total_input / total,
        "input_views": input_seconds["views"] / total_input if total_input else 0.0,
    }
