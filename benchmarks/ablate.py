"""Repeats the paper's ablations at the scale of a recipe, beside the paper's own numbers.

    python benchmarks/ablate.py --recipe=digits --rows=main --epochs=40 --seeds=0
    python benchmarks/ablate.py --list

The first trains eight models on digits. `--list` prints all rows. Every field of a recipe is a
flag. WORKDIR/rows.jsonl gets a line for each row and seed. Started again with the same settings,
the script trains only what is missing there. At the end it prints the table of all rows.
"""

from keras_bt import evaluation  # isort: split

import json
import sys
from pathlib import Path

import ablations
import tensorflow as tf
from absl import app, flags, logging

from keras_bt._support import atomic
from keras_bt.cli.image_flags import IMAGES
from keras_bt.cli.ledger_flag import check_ledger, define_ledger_flag
from keras_bt.cli.recipe_flags import define_recipe_flags, settle
from keras_bt.run import ledger

FLAGS = flags.FLAGS

define_recipe_flags(FLAGS)
define_ledger_flag(FLAGS)
flags.DEFINE_list("rows", ["main"], "all, main, or names of rows; see --list.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Every row is trained with each of these seeds.")
flags.DEFINE_string("workdir", "runs/ablations", "Folder of rows.jsonl.")
flags.DEFINE_bool("list", False, "Print the rows and what each changes, and end.")
flags.mark_flags_as_mutual_exclusive(IMAGES)


def print_rows():
    """Prints all rows and what each changes."""
    for name, row in ablations.ABLATIONS.items():
        place = f" ({row.source})" if row.source else ""
        print(f"{name:28} {row.changes}{place}")


def rows_of_flags():
    """Returns the names of the rows in --rows, each once."""
    groups = {"all": ablations.ABLATIONS, "main": ablations.MAIN}
    names = [name for given in FLAGS.rows for name in groups.get(given, [given])]
    for name in names:
        if name not in ablations.ABLATIONS:
            raise ValueError(f"there is no row {name!r}; --list prints all rows.")
    return list(dict.fromkeys(names))


def seeds_of_flags():
    """Returns the seeds in --seeds."""
    if not FLAGS.seeds or not all(seed.isdigit() for seed in FLAGS.seeds):
        raise ValueError(f"--seeds must be integers of at least 0, got {','.join(FLAGS.seeds)}.")
    return [int(seed) for seed in FLAGS.seeds]


def without_duplicates(names, recipe, images):
    """Returns the names of rows whose runs differ; raises if a row is impossible."""
    kept = {}
    for name in names:
        row = ablations.ABLATIONS[name]
        changed = row.apply(recipe)
        run = changed, row.loss, row.model
        same = [other for other, other_run in kept.items() if other_run == run]
        if same or (name != "baseline" and not row.changes_run(recipe)):
            same_as = same[0] if same else "baseline"
            print(f"{name} equals {same_as} with {recipe.name}, left out", file=sys.stderr)
            continue
        if changed.batch_size > images:
            raise ValueError(
                f"{name} needs batches of {changed.batch_size} images; there are {images} images."
            )
        kept[name] = run
    if not kept:
        raise ValueError(f"no row of {', '.join(FLAGS.rows)} changes anything.")
    return list(kept)


def settings_of(recipe, source):
    """Returns everything that decides a result except row and seed, as JSON reads it back."""
    images = {"dataset": source.name, "images": source.train.count}
    return json.loads(json.dumps({**recipe.settings(), **images}))


def train_missing(names, seeds, recipe, source):
    """Returns the result of each row and seed, after training those not in rows.jsonl."""
    path = Path(FLAGS.workdir) / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = settings_of(recipe, source)
    lines = path.read_text().splitlines() if path.exists() else []
    existing = [result for result in map(json.loads, lines) if result["settings"] == settings]
    results = {(result["row"], result["seed"]): result for result in existing}
    wanted = [(name, seed) for seed in seeds for name in names]
    for name, seed in wanted:
        if (name, seed) not in results:
            metrics = ablations.train_and_score(ablations.ABLATIONS[name], recipe, source, seed)
            result = {"row": name, "seed": seed, **metrics, "settings": settings}
            atomic.append_text(path, json.dumps(result, allow_nan=False) + "\n")
            print(f"{name}, seed {seed}: {metrics}", file=sys.stderr)
            add_to_ledger(recipe.name, name, seed, metrics, settings)
            results[name, seed] = result
    return [results[each] for each in wanted]


def add_to_ledger(recipe, name, seed, metrics, settings):
    """Appends a row to the ledger of --ledger, if there is one."""
    if FLAGS.ledger:
        ledger.add_row(
            FLAGS.ledger,
            recipe=recipe,
            seed=seed,
            minutes=metrics["seconds"] / 60,
            protocol=evaluation.SCORING_METHOD,
            figures={"ablation": name, **metrics, "settings": settings},
        )


def caption(recipe, source, seeds):
    """Returns the text above the table."""
    return (
        f"{recipe.name} on {source.name}, {recipe.epochs} epochs, seeds {seeds}, in %: "
        f"{evaluation.SCORING_METHOD}. Paper: linear top-1, ImageNet, ResNet-50, 300 epochs.\n"
    )


def main(arguments):
    """Trains what is missing and prints the table."""
    if FLAGS.list:
        print_rows()
        return
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; write flags as --name=value.")
        names, seeds = rows_of_flags(), seeds_of_flags()
        check_ledger(FLAGS)
        settled = settle(FLAGS, tf.distribute.get_strategy())
        recipe, open_source = settled.recipe.resolve_precision(), settled.open_images
        if FLAGS.describe:
            print(recipe.describe())
            return
        source = open_source()
        if source.test is None:
            raise ValueError(f"{source.name} has no labels to score with.")
        names = without_duplicates(names, recipe, source.train.count)
        results = train_missing(names, seeds, recipe, source)
    except (ValueError, OSError) as error:
        sys.exit(f"ablate: {error}")
    print(caption(recipe, source, seeds))
    print(ablations.table(results))


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
