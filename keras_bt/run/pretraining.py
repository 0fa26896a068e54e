"""A whole run: from a recipe and images to an exported encoder and its figures."""

import functools
import logging
import math

import keras
import tensorflow as tf

from keras_bt import evaluation
from keras_bt._support.optional import import_optional
from keras_bt.distribution import strategies as distribute
from keras_bt.distribution import workers
from keras_bt.export import export_encoder
from keras_bt.model.view_placement import better_placement
from keras_bt.report import (
    MAPPED_IMAGES,
    EpochScalars,
    ReportWriter,
    Snapshots,
    TensorBoardPictures,
    log_failures,
    save_map,
    save_views,
    write_projector,
)
from keras_bt.run.budget import epochs_in
from keras_bt.run.folder import MetricsLog
from keras_bt.run.progress import EpochLines, ProgressBar
from keras_bt.run.start import StartLoss
from keras_bt.training.profiling import StepProfile, Stopwatch
from keras_bt.training.resumable import ResumableTraining

BATCH_SIZE = 256  # of images to embed
COMPILED_FROM_MINUTES = 3.0  # a budget that seconds of compiling hardly shorten


class Pretraining:
    """The run of a recipe on a source of images.

    Args:
        recipe: `recipes.Recipe`.
        source: `data.Source`.
        strategy: `tf.distribute.Strategy`.
        seed: Int, at least 0. Of weights, order and views.
        minutes: Float or None. Trains for so long instead of for the recipe's epochs.
        deterministic: Bool. Compiles the step, so that runs agree to the last bit.
        view_placement: See `BarlowTwins.compile`; "auto" for "compiled" where that pays.
        linear_monitor: Bool. Whether linear probes are fitted during training too.
        tensorboard: Bool. Whether logs for TensorBoard are written, to the run's `tensorboard`.

    Attributes:
        model: `BarlowTwins`, not trained yet.
        loss_floor: Float or None; see `BarlowTwinsLoss.floor`.

    Raises:
        ValueError: If recipe, images and strategy do not go together.
        ImportError: If logs for TensorBoard are wanted and it is not installed.

    Example:
        >>> import tempfile
        >>> import tensorflow as tf
        >>> from keras_bt import data
        >>> from keras_bt.config.named import recipes
        >>> from keras_bt.run import RunFolder
        >>> tiny = {"width": 1, "projector_dims": (8,), "batch_size": 512, "epochs": 1}
        >>> recipe = recipes["digits"].override(**tiny)
        >>> run = Pretraining(recipe, data.digits(), tf.distribute.get_strategy())
        >>> result = run.run(RunFolder(tempfile.mkdtemp(), recipe.settings()))
        >>> result["steps"], sorted(result["trained"])
        (2, ['few_label_accuracy', 'knn_accuracy', 'linear_accuracy'])
    """

    def __init__(
        self,
        recipe,
        source,
        strategy,
        seed=0,
        minutes=None,
        deterministic=False,
        view_placement="auto",
        linear_monitor=False,
        tensorboard=False,
    ):
        if tensorboard:
            import_optional(["tensorboard"], extra="tensorboard")
        if deterministic and strategy.num_replicas_in_sync > 1:
            raise ValueError("A deterministic run needs a single device; see --strategy=one.")
        self.recipe, self.source, self.strategy = recipe, source, strategy
        self.seed, self.minutes, self.deterministic = seed, minutes, deterministic
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
        self.batches()  # meets what is wrong with them
        self._compile(recipe.epochs, source.train.count // recipe.batch_size)

    def _better_placement(self):
        images = self.recipe.epochs * self.source.train.count
        if self.minutes:  # as many as there is time for
            images = math.inf if self.minutes >= COMPILED_FROM_MINUTES else 0
        return better_placement(images, self.recipe.side_of_views**2)

    def batches(self, first_step=0):
        """The images to train on from a step on, without end, dealt out to the replicas."""

        def of_worker(context):
            return self.source.train.shuffled_batches(
                self.recipe.batch_size, self.recipe.load_size, self.seed, first_step, context
            )

        return distribute.batches(self.strategy, of_worker)

    def run(self, folder, profile=False, progress="bar", **training):
        """Trains from the folder's last checkpoint on, exports and scores.

        Args:
            folder: `RunFolder`. On several workers the chief's writes, and it alone scores.
            profile: Bool. Whether the result has "profile": where the time since this start
                went, in a step (see `StepProfile`) and in the run.
            progress: What is shown meanwhile: "bar", "json" (a line an epoch) or "none".
            **training: See `ResumableTraining`: every_minutes, every_steps, keep, on_nonfinite.

        Returns:
            The result, a dict that JSON can hold; None on workers but the chief.

        Raises:
            FloatingPointError: See `ResumableTraining.fit`.
            CheckpointError: See `ResumableTraining.restore`.
            OSError: If something cannot be written that a run cannot do without.
        """
        size, watch, steps = self.recipe.image_size, Stopwatch(), StepProfile()
        with watch.of("scoring"):
            scores = folder.once("baselines", self._score_baselines) if folder.writes else {}
        with watch.of("training"):
            figures = self._train(folder, training, watch, [steps] if profile else [], progress)
        read = [images for images in (self.source.train, *self.source.for_evaluation()) if images]
        replaced = workers.gather_from_workers(
            self.strategy, sorted(set.union(*(images.replaced for images in read)))
        )
        if not folder.writes:
            return None
        with watch.of("export"):
            folder.save_model(self.model)  # before scoring: what fails there, the training stays
        trained, save_map_to = self._score_trained(watch)
        result = {
            "recipe": self.recipe.name,
            "dataset": self.source.name,
            "images": self.source.train.count,
            "image_size": size,
            "skipped_images": self.source.skipped,
            "replaced_images": len(set().union(*replaced)),  # since the last start
            **figures,
            "encoder_dir": str(folder.encoder),
            "seed": self.seed,
            **scores,
            "trained": trained,
            "protocol": evaluation.PROTOCOL,
        }
        with watch.of("export"):
            export_encoder(
                self.model.encoder,
                folder.encoder,
                image_size=size,
                metadata=result,
                overwrite=True,
            )
        with watch.of("report"), log_failures(folder.path / "map.npz"):
            save_map_to(folder.path / "map.npz")
            if self.tensorboard:
                write_projector(folder.path)
        if profile:
            result["profile"] = {"step": steps.result, "run": watch.shares()}
        folder.write_result(result)
        ReportWriter(folder.path).write()
        return result

    def _score_trained(self, watch):
        """The figures of the encoder, and a function that saves the map of what it sees."""
        source, size, encoder = self.source, self.recipe.image_size, self.model.encoder
        if source.test is None:
            images = source.train.at_most(MAPPED_IMAGES)
            with watch.of("report"):
                representations, _ = evaluation.extract_features(
                    encoder, images.batches(BATCH_SIZE, size)
                )
            shown = {"images": images, "representations": representations}
            return evaluation.UNKNOWN, functools.partial(save_map, image_size=size, **shown)
        with watch.of("scoring"):
            (train, train_labels), (test, labels) = evaluation.extract_source_features(
                encoder, source, size
            )
            probe = evaluation.fit_probe(train, train_labels, evaluation.PROBE_IMAGES)
            scores = evaluation.scores_of_probe(probe, train, train_labels, test, labels)
        shown = {"images": source.test, "representations": test, "labels": labels}
        shown |= {"predicted": probe.predict(test), "class_names": source.class_names}
        return scores, functools.partial(save_map, image_size=size, **shown)

    def _score_baselines(self):
        size = self.recipe.image_size
        return {
            "pixels": evaluation.score_pixels(self.source, size),
            "untrained": evaluation.score_untrained(self.model.encoder, self.source, size),
        }

    def _train(self, folder, options, watch, callbacks, progress):
        """Trains; returns what the result says of it."""
        epochs, steps_per_epoch = self._planned(folder)
        self._compile(epochs, steps_per_epoch)
        training = ResumableTraining(
            folder.checkpoints, settings=folder.settings, writes=folder.writes, **options
        )
        state = training.restore(self.model)
        steps, batch_size = epochs * steps_per_epoch, self.recipe.batch_size
        watch.watch(training, "save", "checkpoints")
        monitors = evaluation.default_monitors(
            self.source, self.recipe.image_size, batch_size, epochs, self.linear_monitor
        )
        start = StartLoss(folder, health=monitors[-1])
        if folder.writes:
            for monitor in monitors:
                watch.watch(monitor, "on_epoch_end", "monitors")
            snapshots = Snapshots(folder.path / "snapshots", health=monitors[-1])
            page = ReportWriter(folder.path)
            watch.watch(snapshots, "on_epoch_end", "report")
            watch.watch(page, "write", "report")
            self._keep_views(folder)
            log = MetricsLog(folder.metrics, state.history)
            callbacks = [*monitors, snapshots, start, log, page, *callbacks]
            if self.tensorboard:
                logs = TensorBoardPictures(folder.path)
                callbacks += [EpochScalars(logs.log_dir, write_graph=False), logs]
            if progress != "none":
                shown = ProgressBar if progress == "bar" else EpochLines
                callbacks.append(shown(steps, batch_size, self.loss_floor, state.step, start))
        training.fit(self.batches, epochs, steps_per_epoch, callbacks)
        return {
            "steps": steps,
            "epochs": epochs,
            "batch_size": batch_size,
            "replicas": self.strategy.num_replicas_in_sync,
            "seconds": round(state.seconds, 1),
            "images_per_second": round(steps * batch_size / state.seconds, 1),
            "nonfinite_steps": state.nonfinite_steps,
            "loss": state.history[-1]["loss"],
            "loss_floor": self.loss_floor,
            "untrained_loss": start.loss,
            "health": evaluation.health_report(state.history[-1], start.loss, self.loss_floor),
        }

    def _keep_views(self, folder):
        file = folder.path / "views.npz"
        if not file.exists():
            with log_failures(file):
                save_views(file, self.model, self.source.train, self.recipe.load_size)

    def _planned(self, folder):
        """Epochs, and steps in each: what they were when the run began."""
        images = self.source.train.count

        def measure():
            epochs, steps = self.recipe.epochs, images // self.recipe.batch_size
            if self.minutes:
                epochs, steps = epochs_in(self.minutes, self.model, self.batches(), steps)
            return {
                "epochs": epochs,
                "steps_per_epoch": steps,
                "images": images,
                "skipped_images": self.source.skipped,
            }

        planned = workers.gather_from_workers(self.strategy, folder.read("plan"))[0]
        plan = planned or folder.once("plan", measure)
        if plan["images"] != images:
            logging.getLogger(__name__).warning(
                "The run began with %d images and goes on with %d.", plan["images"], images
            )
        return plan["epochs"], plan["steps_per_epoch"]

    def _compile(self, epochs, steps_per_epoch):
        with self.strategy.scope():
            self.model.compile(
                self.recipe.build_optimizer(steps_per_epoch, epochs * steps_per_epoch),
                self.recipe.build_loss(),
                hold_nonfinite=True,
                view_placement=self.view_placement,
                jit_compile=self.deterministic,
            )
