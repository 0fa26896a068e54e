"""Where the time of training goes: to the stages of a step, and to the parts of a run."""

import collections
import contextlib
import functools
import re
import tempfile
import time
from pathlib import Path

import keras
import tensorflow as tf

STAGES = ("views", "encoder", "projector", "loss", "optimizer")
STEP = "keras_bt step"  # the name of a step in the trace
WAITING, REST, COMPILED = "waiting for input", "rest", "compiled step"
OPERATION = re.compile(r"[^\s:]+:\w+")  # its name and its type
SETTLING_STEPS = 3  # while tracing starts, input runs ahead


class StepProfile(keras.callbacks.Callback):
    """Finds out to which stages the time of `BarlowTwins.fit`'s steps goes, by tracing some.

    Time in which a step waits for its images is measured; the rest is shared out in proportion
    to the time that the operations of a stage took, its gradients among them, as they overlap
    over threads. Stages are told by the scopes of names in the graph. A step compiled by XLA
    has no stages: its operations are fused. On a GPU the host's operations are counted, which
    are launches: there only the waiting is to be trusted.

    Args:
        warm_up_steps: Int. Steps before tracing begins.
        steps: Int. Steps that are traced, of one epoch or several.

    Attributes:
        result: Dict that JSON can hold; None until it is found out.
            "steps": how many were traced;
            "seconds": of a traced step;
            "shares": of each stage, "waiting for input" and "rest", in the time of a step;
                they sum to 1;
            "input_threads": how many threads read, decoded and viewed images meanwhile;
            "input_views": the share of views in that, for those that run in `tf.data`.

    Example:
        >>> profile = StepProfile(steps=5)
        >>> profile.result is None  # until model.fit(..., callbacks=[profile])
        True
    """

    def __init__(self, warm_up_steps=10, steps=20):
        super().__init__()
        if warm_up_steps < 1 or steps < 1:
            raise ValueError(
                "The first step cannot be traced and one has to be: warm_up_steps and steps must "
                f"be at least 1, got {warm_up_steps} and {steps}."
            )
        self.warm_up_steps = warm_up_steps
        self.steps = steps
        self.result = None

    def on_train_begin(self, logs=None):
        self._step, self._folder, self._marked = 0, None, None

    def on_train_batch_begin(self, batch, logs=None):
        if self._step == self.warm_up_steps and self.result is None:
            self._folder = tempfile.TemporaryDirectory()
            options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
            tf.profiler.experimental.start(self._folder.name, options)
        if self._folder and self._step >= self.warm_up_steps + SETTLING_STEPS:
            self._marked = tf.profiler.experimental.Trace(STEP)
            self._marked.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._marked:
            float(logs["loss"])  # waits for the step
            self._unmark()
        if self._step == self.warm_up_steps + SETTLING_STEPS + self.steps:
            self._stop()

    def on_train_end(self, logs=None):
        self._unmark()
        self._stop()

    def _unmark(self):
        if self._marked:
            self._marked.__exit__(None, None, None)
        self._marked = None

    def _stop(self):
        if not self._folder:
            return
        tf.profiler.experimental.stop()
        with self._folder as folder:
            self.result = _summary(_events(Path(folder)), _stage_of(self.model))
        self._folder = None
        if self.result and self.model.jit_compile:
            waiting = self.result["shares"][WAITING]
            self.result["shares"] = {WAITING: waiting, COMPILED: 1.0 - waiting}


class Stopwatch:
    """The seconds that parts of a run take.

    Example:
        >>> watch = Stopwatch()
        >>> with watch.of("scoring"):
        ...     pass
        >>> shares = watch.shares()
        >>> sorted(shares), round(sum(shares.values()), 6)
        (['rest', 'scoring'], 1.0)
    """

    def __init__(self):
        self.began = time.perf_counter()
        self.seconds: collections.Counter = collections.Counter()
        self._inside = []

    @contextlib.contextmanager
    def of(self, part):
        """Counts the time of a block for a part, and not for the part whose block it is in."""
        began, within = time.perf_counter(), len(self._inside)
        self._inside.append(0.0)
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.seconds[part] += seconds - self._inside.pop()
            if within:
                self._inside[-1] += seconds

    def watch(self, thing, method, part):
        """Counts the time of an object's method for a part."""
        call = getattr(thing, method)

        @functools.wraps(call)
        def timed(*arguments, **named):
            with self.of(part):
                return call(*arguments, **named)

        setattr(thing, method, timed)

    def shares(self):
        """The share of each part, and of the rest, in the time since the beginning."""
        whole = time.perf_counter() - self.began
        shares = {part: seconds / whole for part, seconds in self.seconds.items()}
        return {**shares, REST: 1.0 - sum(shares.values())}


def report(profile):
    """A profile as lines of text.

    Args:
        profile: {"step": `StepProfile.result`, "run": `Stopwatch.shares()`}.

    Returns:
        String.

    Example:
        >>> print(report({"step": None, "run": {"scoring": 0.012, "training": 0.988}}))
        share of the run's time
            98.8 %  training
             1.2 %  scoring
    """
    step, tables = profile["step"], {"share of the run's time": profile["run"]}
    if step:
        threads, views = step["input_threads"], step["input_views"]
        title = (
            f"share of a step's {1000 * step['seconds']:.1f} ms; beside it {threads:.2f} threads"
        )
        title += " for input" + (f", {100 * views:.0f} % of that for views" if views else "")
        tables = {title: step["shares"], **tables}
    lines = []
    for title, shares in tables.items():
        rows = sorted(shares.items(), key=lambda row: -row[1])
        lines += [title, *(f"{100 * share:8.1f} %  {name}" for name, share in rows)]
    return "\n".join(lines)


def _stage_of(model):
    """Function from the name of an operation to its stage."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a loss scale
    names = {**dict(zip(STAGES, STAGES, strict=True)), "view_a": "views", "view_b": "views"}
    names |= {model.optimizer.name: "optimizer", optimizer.name: "optimizer"}
    scope = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, names))})(?:_\d+)?(?=/)")

    @functools.cache
    def stage_of(name):
        found = scope.search(name)
        return names[found[1]] if found else REST

    return stage_of


def _events(folder):
    """(thread, name, seconds) of what a trace holds and began within a step that was marked."""
    # TensorFlow writes protocol buffers, and ships this reader of them.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found = []
    for file in folder.rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    began = 1000 * line.timestamp_ns + event.offset_ps
                    found.append((began, line.name, name, event.duration_ps))
    spans = [(began, began + picoseconds) for began, _, name, picoseconds in found if name == STEP]
    return [
        (thread, name, picoseconds / 1e12)
        for began, thread, name, picoseconds in found
        if any(first <= began < last for first, last in spans)
    ]


def _summary(events, stage_of):
    """What `StepProfile.result` tells; None without a step."""
    steps, waiting = [], 0.0
    in_step: collections.Counter = collections.Counter()
    in_input: collections.Counter = collections.Counter()
    for thread, name, seconds in events:
        if name == STEP:
            steps.append(seconds)
        elif "IteratorGetNext" in name and name.endswith("::DoCompute"):
            waiting += seconds
        elif OPERATION.fullmatch(name):
            operations = in_input if thread.startswith("tf_data") else in_step
            operations[stage_of(name)] += seconds
    if not steps:
        return None
    whole, busy, of_input = sum(steps), sum(in_step.values()), sum(in_input.values())
    waiting = min(waiting / whole, 1.0)
    shares = {stage: (1.0 - waiting) * in_step[stage] / (busy or 1.0) for stage in STAGES}
    return {
        "steps": len(steps),
        "seconds": whole / len(steps),
        "shares": {WAITING: waiting, **shares, REST: 1.0 - waiting - sum(shares.values())},
        "input_threads": of_input / whole,
        "input_views": in_input["views"] / of_input if of_input else 0.0,
    }
