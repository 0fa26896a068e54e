"""What accelerator.py measures, and in which order."""

import collections
import dataclasses

KINDS = ("step", "views", "files", "mirrored", "memory")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")  # the first needs most memory
PLACEMENTS = ("compiled", "step", "data")
RESNET50, RESNET18, TOY = "ResNet-50, 224 px", "ResNet-18, 32 px", "one convolution, 8 px"
BATCHES = {RESNET50: 256, RESNET18: 512, TOY: 16}
BATCHES_ON_CPU = {RESNET50: 8, RESNET18: 64, TOY: 16}
LEAST_BATCH, MOST_TIMES_ON_CPU = 8, 4
MIRRORED_BATCH, MIRRORED_BATCH_ON_CPU = 256, 32
MICRO_BATCHES = (1, 4, 8)
SECONDS, TOY_SECONDS = 3.0, 0.1  # of steps, after the first ones
MOST_OF_BUDGET = 0.25  # for a single measurement


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row to measure.

    Args:
        kind: One of `KINDS`.
        network: Key of `BATCHES`.
        options: Settings that differ from those of `Plan.settings`.
        times: Size of the batch, as a multiple of the network's.
    """

    kind: str
    network: str
    options: dict = dataclasses.field(default_factory=dict)
    times: int = 1


class Plan:
    """The measurements to do, in order; earlier rows decide precisions and sizes of later ones.

    Args:
        kinds: Some of `KINDS`.
        device_type: "GPU", "TPU" or "CPU".
        networks: Keys of `BATCHES`. The first is measured in all kinds.
    """

    def __init__(self, kinds, device_type, networks=(RESNET50, RESNET18)):
        self.device_type = device_type
        self.rates = {network: {} for network in networks}  # by precision
        self.batches = dict(BATCHES_ON_CPU if device_type == "CPU" else BATCHES)
        toy = TOY in networks
        # A strategy, which a TPU needs, computes views in the step; a toy is not worth compiling.
        self.placement = "step" if device_type == "TPU" or toy else "compiled"
        first, *others = networks
        mirrored = Measurement("mirrored", networks[-1])
        queue = [*self._of(first), Measurement("files", first), mirrored]
        queue += [
            Measurement("memory", first, {"micro_batches": parts})
            for parts in MICRO_BATCHES[: 2 if toy else None]
        ]
        for network in others:
            queue += self._of(network)
        whole_step = {"placement": "step", "jit_compile": True}
        queue += [Measurement("step", network, whole_step) for network in networks if not toy]
        queue += [Measurement("step", network, times=2) for network in networks]
        if toy:
            queue.sort(key=lambda each: each.kind == "mirrored")  # saves the start of a process
        self.queue = collections.deque(each for each in queue if each.kind in kinds)

    def _of(self, network):
        """Yields the steps and views of a network."""
        for precision in PRECISIONS:
            yield Measurement("step", network, {"precision": precision})
        for placement in PLACEMENTS:
            if placement != self.placement:
                yield Measurement("step", network, {"placement": placement})
        for placement in ("compiled", "step"):
            yield Measurement("views", network, {"placement": placement})

    def settings(self, measurement):
        """Returns the settings of a measurement, as its row has them."""
        network, batch = measurement.network, self.batches[measurement.network]
        if measurement.kind == "mirrored":
            most = MIRRORED_BATCH_ON_CPU if self.device_type == "CPU" else MIRRORED_BATCH
            return {"batch": min(batch, most)}
        settings = {"batch": batch * measurement.times, "placement": self.placement}
        if measurement.kind != "views":
            rates = self.rates[network]
            settings["precision"] = max(rates, key=rates.get, default=PRECISIONS[0])
        return settings | measurement.options

    def learn(self, measurement, row):
        """Changes the queue and later settings by the row of a measurement."""
        network, failed = measurement.network, "not_measured" in row
        if measurement.times > 1:
            doubled = 2 * measurement.times
            if not failed and (self.device_type != "CPU" or doubled <= MOST_TIMES_ON_CPU):
                self.queue.appendleft(dataclasses.replace(measurement, times=doubled))
        elif "precision" not in measurement.options:
            return
        elif not failed:
            self.rates[network][row["precision"]] = row["images_per_second"]
        elif row["out_of_memory"]:
            if self.batches[network] >= 2 * LEAST_BATCH:
                self.batches[network] //= 2
                self.queue.appendleft(measurement)
        elif self.placement == "compiled" and not any(self.rates.values()):
            self.placement = "step"  # XLA may lack a file of CUDA
            self.queue.appendleft(measurement)


def title(measurement, settings):
    """Returns a measurement in words."""
    values = (f"{name} {value}" for name, value in settings.items())
    return ", ".join([measurement.kind, measurement.network, *values])
