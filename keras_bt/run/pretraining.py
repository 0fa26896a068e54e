"""`Pretraining`: a run, from a recipe and images to an exported encoder and its metrics."""

import dataclasses
import logging
import time
from typing import Any

import keras
import tensorflow as tf

from keras_bt import evaluation
from keras_bt._support.optional import import_optional
from keras_bt._support.progress_bar import stage
from keras_bt.config.recipe import Recipe
from keras_bt.config.speed import measure_speed
from keras_bt.data import Source, in_memory
from keras_bt.data.memory import fits_into_memory
from keras_bt.distribution import workers
from keras_bt.distribution.strategies import distribute_batches
from keras_bt.export import export_encoder
from keras_bt.model.view_placement import better_placement
from keras_bt.report import ReportWriter, log_failures, save_views, write_projector
from keras_bt.run.budget import (
    FINAL_SECONDS,
    MOST_ROUNDS,
    Budget,
)
from keras_bt.run.callbacks import run_callbacks
from keras_bt.run.folder import RunFolder
from keras_bt.run.plan import Plan
from keras_bt.run.progress import progress_display
from keras_bt.run.scoring import (
    compare,
    sample_to_score,
    score,
    score_baselines,
    scoring_method,
)
from keras_bt.run.start import StartLoss
from keras_bt.run.verdict import verdict
from keras_bt.training.profiling import StepProfile, Stopwatch
from keras_bt.training.resumable import ResumableTraining

LEAST_SHARE = 0.25  # of a budget, for the training, even if what comes before took too long


class Pretraining:
    """A run of a recipe on a source of images.

    Args:
        recipe: The settings.
        source: The images.
        strategy: The strategy to train under.
        seed: Seed of weights, order and views, at least 0.
        minutes: Time from `started` to the result; None trains for the recipe's epochs.
        started: `time.monotonic()` at which the budget begins; None for now.
        deterministic: Whether the step is compiled, so that runs agree to the last bit.
        view_placement: See `BarlowTwins.compile`; "auto" for "compiled" where that pays.
        linear_monitor: Whether linear probes are fitted during training too.
        tensorboard: Whether logs for TensorBoard are written into the run's folder.

    Attributes:
        model: `BarlowTwins`, not trained yet.
        loss_floor: Float or None; see `BarlowTwinsLoss.floor`.

    Raises:
        ValueError: If recipe, images and strategy do not fit together.
        ImportError: If `tensorboard` is set and TensorBoard is not installed.

    Example:
        >>> import tempfile
        >>> import keras_bt
        >>> from keras_bt import data
        >>> tiny = {"width": 1, "projector_dims": (8,), "batch_size": 512, "epochs": 1}
        >>> recipe = keras_bt.recipes["digits"].override(**tiny)
        >>> run = Pretraining(recipe, data.digits(), tf.distribute.get_strategy())
        >>> result = run.run(RunFolder(tempfile.mkdtemp(), recipe.settings()))
        >>> result["steps"], sorted(result["trained"])
        (2, ['few_label_accuracy', 'knn_accuracy', 'linear_accuracy'])
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        strategy: tf.distribute.Strategy,
        *,
        seed: int = 0,
        minutes: float | None = None,
        started: float | None = None,
        deterministic: bool = False,
        view_placement: str = "auto",
        linear_monitor: bool = False,
        tensorboard: bool = False,
    ) -> None:
        if tensorboard:
            import_optional(["tensorboard"], extra="tensorboard")
        if deterministic and strategy.num_replicas_in_sync > 1:
            raise ValueError(
                f"A deterministic run needs a single device, got {strategy.num_replicas_in_sync}."
            )
        with strategy.scope():
            recipe = recipe.resolve_precision()
        self.recipe, self.strategy = recipe, strategy
        self.source = source = source.framed(recipe.framing)
        self.seed, self.minutes, self.deterministic = seed, minutes, deterministic
        self.started = time.monotonic() if started is None else started
        self.scored = self._images_to_score()
        self.speed = 0.0 if minutes is None else measure_speed(recipe, strategy)
        self.linear_monitor, self.tensorboard = linear_monitor, tensorboard
        self.loss_floor = recipe.build_loss().floor(recipe.batch_size, recipe.projector_dims[-1])
        keras.utils.set_random_seed(seed)
        with strategy.scope():
            if view_placement == "auto":
                view_placement = (
                    "step" if tf.distribute.has_strategy() else self._better_placement()
                )
            self.view_placement = view_placement
            self.model = recipe.build_model(seed)
        self.train_images = source.train
        self.batches()  # rejects images that do not fill a batch

    def run(
        self,
        folder: RunFolder,
        *,
        profile: bool = False,
        progress: str = "bar",
        **resumable: Any,
    ) -> dict[str, Any] | None:
        """Trains from the folder's last checkpoint, then scores, exports and reports.

        Args:
            folder: The folder of the run. On several workers only the chief writes and scores.
            profile: Whether the result has "profile": the shares of the time since this start,
                in a step (see `StepProfile`) and in the run.
            progress: Display on the terminal: "bar", "json" (a line per epoch) or "none".
            **resumable: See `ResumableTraining`: every_minutes, every_steps, keep,
                on_nonfinite.

        Returns:
            The result, a dict that JSON can hold; None on workers other than the chief.

        Raises:
            FloatingPointError: See `ResumableTraining.fit`.
            CheckpointError: See `ResumableTraining.restore`.
            OSError: If a file that the run needs cannot be written.
        """
        size, watch, step_profile = self.recipe.image_size, Stopwatch(), StepProfile()
        encoder = self.model.encoder
        shown = progress == "bar" and folder.writes
        if self._fits_into_memory():
            with watch.measure("reading"), stage("reading the images into memory", shown):
                self._keep_in_memory()
        with watch.measure("scoring"):
            baselines = self._score_baselines(folder, shown)
        baseline_hits = baselines.pop("hits", {})
        final_seconds = FINAL_SECONDS + baselines.pop("seconds", 0.0)
        plan = self._plan(folder, final_seconds)
        with watch.measure("training"):
            training_metrics = self._train(
                plan, folder, resumable, watch, [step_profile] if profile else [], progress
            )
        replaced = self._replaced_on_all_workers()
        if not folder.writes:
            return None
        with watch.measure("export"):
            folder.save_model(self.model)  # first: a failure below then loses no training
        with watch.measure("scoring"), stage("scoring the encoder", shown):
            scores = score(encoder, self.scored, size)
        replaced |= self._replaced_here()  # also by the scores, which only this worker computes
        advantages = compare(scores, baseline_hits)
        result = {
            "recipe": self.recipe.name,
            "dataset": self.source.name,
            "images": self.source.train.count,
            "image_size": size,
            "framing": self.recipe.framing,
            "skipped_images": self.source.skipped,
            "replaced_images": len(replaced),
            **training_metrics,
            "encoder_dir": str(folder.encoder),
            "seed": self.seed,
            **baselines,
            "trained": scores.metrics,
            "advantage": advantages,
            "verdict": verdict(advantages, len(scores.features), self.source.train.count),
            "protocol": scoring_method(self.source, self.scored),
        }
        with watch.measure("export"), stage("exporting the encoder", shown):
            export_encoder(
                encoder,
                folder.encoder,
                image_size=size,
                framing=self.recipe.framing,
                metadata=result,
                overwrite=True,
            )
        with watch.measure("report"), log_failures(folder.path / "map.npz"):
            scores.save_map(folder.path / "map.npz", size)
            if self.tensorboard:
                write_projector(folder.path)
        if profile:
            result["profile"] = {"step": step_profile.result, "run": watch.shares()}
        result["total_seconds"] = round(time.monotonic() - self.started, 1)
        folder.write_result(result)
        with stage("writing the report", shown):
            ReportWriter(folder.path).write()
        return result

    def batches(self, first_step: int = 0) -> tf.data.Dataset | tf.distribute.DistributedDataset:
        """The endless batches to train on, from a step on, distributed to the replicas."""

        def of_worker(context: tf.distribute.InputContext | None) -> tf.data.Dataset:
            return self.train_images.shuffled_batches(
                self.recipe.batch_size, self.recipe.load_size, self.seed, first_step, context
            )

        return distribute_batches(self.strategy, of_worker)

    def _images_to_score(self) -> Source:
        """All images, or as many as can be scored in the budget."""
        return self.source if self.minutes is None else sample_to_score(self.source, self.minutes)

    def _better_placement(self) -> str:
        """Where views are computed fastest."""
        return better_placement(self._expected_images(), self.recipe.side_of_views**2)

    def _expected_images(self) -> float:
        """About as many images as the training will take."""
        if self.minutes is None:
            return self.recipe.epochs * self.source.train.count
        return 60 * self.minutes * self.speed

    def _fits_into_memory(self) -> bool:
        """Whether the images are read more than once, and few enough to keep them decoded."""
        count = self.source.train.count
        is_reread = self._expected_images() >= 2 * count
        return is_reread and fits_into_memory(count, self.recipe.load_size)

    def _keep_in_memory(self) -> None:
        """Reads and decodes all training images once."""
        self.train_images = in_memory(self.source.train, self.recipe.load_size)
        same_size = self.recipe.load_size == self.recipe.image_size
        if same_size and not self.train_images.squashed:  # the same pixels for scoring
            self.source = dataclasses.replace(self.source, train=self.train_images)
            self.scored = self._images_to_score()

    def _score_baselines(self, folder: RunFolder, shown: bool) -> dict[str, Any]:
        """The metrics of the baselines, computed at the first start of the run."""
        if not folder.writes:
            return {}

        return folder.once(
            "baselines",
            lambda: score_baselines(self.model.encoder, self.scored, self.recipe.image_size, shown),
        )

    def _train(
        self,
        plan: Plan,
        folder: RunFolder,
        resumable: dict[str, Any],
        watch: Stopwatch,
        callbacks: list[keras.callbacks.Callback],
        progress: str,
    ) -> dict[str, Any]:
        """Trains, and returns the metrics of the training."""
        batch_size = self.recipe.batch_size
        self._compile(plan)
        training = ResumableTraining(
            folder.checkpoints, settings=folder.settings, writes=folder.writes, **resumable
        )
        state = training.restore(self.model)
        watch.measure_method(training, "save", "checkpoints")
        monitors = self._monitors(plan) if folder.writes else []
        if plan.seconds is not None:
            budget = Budget(
                plan,
                state,
                self.recipe.peak_rate,
                self._warmup_share(plan),
                save=lambda: folder.write("plan", plan.settings()),
            )
            callbacks = [budget, *callbacks]
        epochs = plan.epochs
        if plan.seconds is not None and state.ended_epochs < plan.epochs:
            epochs = MOST_ROUNDS  # the budget ends it
        if not folder.writes:
            training.fit(self.batches, epochs, plan.steps_per_epoch, callbacks)
            return {}
        start = StartLoss(folder, health=monitors[-1])
        self._score_monitored(folder, monitors, progress == "bar")
        self._save_views(folder)
        display = progress_display(progress, batch_size, self.loss_floor, state.step, start)
        callbacks = [
            *callbacks,
            *run_callbacks(
                folder, monitors, start, state.history, watch, tensorboard=self.tensorboard
            ),
            *display,
        ]
        training.fit(self.batches, epochs, plan.steps_per_epoch, callbacks)
        passes = state.step * batch_size / self.source.train.count
        return {
            "steps": state.step,
            "epochs": plan.epochs if plan.seconds is None else round(passes, 1),
            "batch_size": batch_size,
            "replicas": self.strategy.num_replicas_in_sync,
            "precision": self.recipe.precision,
            "seconds": round(state.seconds, 1),
            "images_per_second": round(state.step * batch_size / state.seconds, 1),
            "nonfinite_steps": state.nonfinite_steps,
            "loss": state.history[-1]["loss"],
            "loss_floor": self.loss_floor,
            "untrained_loss": start.loss,
            "health": evaluation.health_report(
                state.history[-1], start.loss, self.loss_floor, start.untrained_accuracy
            ),
        }

    def _plan(self, folder: RunFolder, final_seconds: float) -> Plan:
        """How long the run trains, decided at its first start."""
        images = self.source.train.count

        def make_plan() -> dict[str, Any]:
            plan = Plan(
                epochs=self.recipe.epochs,
                steps_per_epoch=images // self.recipe.batch_size,
                images=images,
                skipped_images=self.source.skipped,
            )
            if self.minutes is None:
                return plan.settings()
            left = 60 * self.minutes - (time.monotonic() - self.started) - final_seconds
            seconds = max(LEAST_SHARE * 60 * self.minutes, left)
            steps = max(1, int(seconds * self.speed / self.recipe.batch_size))
            return plan.with_budget(seconds, steps).settings()

        earlier = workers.gather_from_workers(self.strategy, folder.read("plan"))[0]
        if earlier is None:
            earlier = workers.gather_from_workers(self.strategy, folder.once("plan", make_plan))[0]
        plan = Plan(**earlier)
        if plan.images != images:
            logging.getLogger(__name__).warning(
                "The run began with %d images and continues with %d; its number of steps stays.",
                plan.images,
                images,
            )
        return plan

    def _warmup_share(self, plan: Plan) -> float:
        """Share of a training with a budget in which the learning rate rises."""
        steps_per_epoch = plan.images // self.recipe.batch_size
        return self.recipe.warmup_steps(steps_per_epoch, plan.steps) / plan.steps

    def _monitors(self, plan: Plan) -> list[evaluation.monitors.Monitor]:
        """The monitors of the training."""
        batch_size = self.recipe.batch_size
        return evaluation.default_monitors(
            self.source,
            self.recipe.image_size,
            batch_size,
            plan.epochs,
            self.linear_monitor,
            passes=plan.steps * batch_size,
        )

    def _score_monitored(
        self, folder: RunFolder, monitors: list[evaluation.monitors.Monitor], shown: bool
    ) -> None:
        """Gives the last monitor the k-NN accuracy before training, on the images of the first."""
        first, health = monitors[0], monitors[-1]
        if first is health:
            return

        def score_them() -> list[float]:
            with stage("scoring the monitored images", shown):
                return list(first.compute_baseline(evaluation.untrained_copy(self.model.encoder)))

        accuracy, images = folder.once("monitored", score_them)
        health.untrained_accuracy = accuracy, int(images)

    def _save_views(self, folder: RunFolder) -> None:
        """Writes some views for the report, once per run."""
        file = folder.path / "views.npz"
        if not file.exists():
            with log_failures(file):
                save_views(file, self.model, self.source.train, self.recipe.load_size)

    def _replaced_here(self) -> set[str]:
        """Names of the images that could not be read since this start."""
        sources = [self.source.train, *self.source.for_evaluation()]
        return set().union(*(images.replaced for images in sources if images))

    def _replaced_on_all_workers(self) -> set[str]:
        """Names of the images that some worker could not read since this start."""
        of_workers = workers.gather_from_workers(self.strategy, sorted(self._replaced_here()))
        return set().union(*of_workers)

    def _compile(self, plan: Plan) -> None:
        with self.strategy.scope():
            self.model.compile(
                self.recipe.build_optimizer(
                    plan.images // self.recipe.batch_size,
                    plan.steps,
                    scheduled=plan.seconds is None,
                ),
                self.recipe.build_loss(),
                hold_nonfinite=True,
                view_placement=self.view_placement,
                jit_compile=self.deterministic,
            )
