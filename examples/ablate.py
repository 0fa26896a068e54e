"""Reruns the paper's ablations at the scale of a recipe, beside the paper's own figures.

    python examples/ablate.py --recipe=digits --rows=main --epochs=40 --seeds=0
    python examples/ablate.py --list

The first makes eight trainings on digits. Every field of a recipe is a flag. WORKDIR/rows.jsonl
gets a line for each row and seed; started again with the same settings, those that are there are
not trained again. In the end the table of all is printed.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import ledger_flag
import recipe_and_source
import tensorflow as tf
from absl import app, flags, logging

from keras_bt import ablations, evaluation
from keras_bt._support import atomic

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(ledger_flag)
flags.adopt_module_key_flags(recipe_and_source)
flags.DEFINE_list("rows", ["main"], "all, main, or names of rows; see --list.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Each row is trained with each of them.")
flags.DEFINE_string("workdir", "runs/ablations", "Where rows.jsonl is.")
flags.DEFINE_bool("list", False, "Print the rows, and what each changes, and end.")


def list_rows():
    for name, row in ablations.rows.items():
        place = f" ({row.source})" if row.source else ""
        print(f"{name:28} {row.changes}{place}")


def names_of_flags():
    """The rows that --rows names."""
    sets = {"all": list(ablations.rows), "main": ablations.main_rows}
    names = [name for given in FLAGS.rows for name in sets.get(given, [given])]
    for name in names:
        if name not in ablations.rows:
            raise ValueError(f"there is no row {name!r}; --list names them.")
    return list(dict.fromkeys(names))


def names_to_train(names, recipe, images):
    """Those that are possible, and no other row under another name."""
    kept = {}
    for name in names:
        row = ablations.rows[name]
        changed = row.applied_to(recipe)
        same = [of for of, made in kept.items() if made == (changed, row.loss, row.model)]
        if same or (name != "baseline" and not row.alters(recipe)):
            same_as = same[0] if same else "baseline"
            print(f"{name} is {same_as} in {recipe.name}, left out", file=sys.stderr)
            continue
        if changed.batch_size > images:
            raise ValueError(f"{name} has batches of {changed.batch_size}, of {images} images.")
        kept[name] = changed, row.loss, row.model
    if not kept:
        raise ValueError(f"no row of {', '.join(FLAGS.rows)} changes anything.")
    return list(kept)


def seeds_of_flags():
    if not FLAGS.seeds or not all(seed.isdigit() for seed in FLAGS.seeds):
        raise ValueError(f"--seeds takes ints from 0 on, got {','.join(FLAGS.seeds)}.")
    return [int(seed) for seed in FLAGS.seeds]


def settings_of(recipe, source):
    """Everything that decides a row but its name and seed, as JSON gives it back."""
    images = {"dataset": source.name, "images": source.train.count}
    return json.loads(json.dumps({**recipe.settings(), **images}))


def caption(recipe, source, seeds):
    """What the figures of the table are, in words."""
    return (
        f"{recipe.name} on {source.name}, {recipe.epochs} epochs, seeds {seeds}, in %: "
        f"{evaluation.PROTOCOL}. Paper: linear top-1, ImageNet, ResNet-50, 300 epochs.\n"
    )


def train_missing(names, seeds, recipe, source):
    """A line of WORKDIR/rows.jsonl for each row and seed, after those that lack one are trained."""
    path = Path(FLAGS.workdir) / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = settings_of(recipe, source)
    lines = path.read_text().splitlines() if path.exists() else []
    there = [result for result in map(json.loads, lines) if result["settings"] == settings]
    results = {(result["row"], result["seed"]): result for result in there}
    wanted = [(name, seed) for seed in seeds for name in names]
    for name, seed in wanted:
        if (name, seed) not in results:
            figures = ablations.train_and_score(ablations.rows[name], recipe, source, seed)
            result = {"row": name, "seed": seed, **figures, "settings": settings}
            atomic.append_text(path, json.dumps(result, allow_nan=False) + "\n")
            print(f"{name}, seed {seed}: {figures}", file=sys.stderr)
            ledger_flag.record(
                recipe=recipe.name,
                seed=seed,
                minutes=figures["seconds"] / 60,
                protocol=evaluation.PROTOCOL,
                figures={"ablation": name, **figures, "settings": settings},
            )
            results[name, seed] = result
    return [results[each] for each in wanted]


def main(arguments):
    if FLAGS.list:
        list_rows()
        return
    try:
        if len(arguments) > 1:
            raise ValueError(f"unexpected arguments {arguments[1:]}; flags are --name=value.")
        names, seeds = names_of_flags(), seeds_of_flags()
        ledger_flag.check()
        recipe, _, open_source = recipe_and_source.settle(tf.distribute.get_strategy())
        if FLAGS.describe:
            print(recipe.describe())
            return
        source = open_source()
        if source.test is None:
            raise ValueError(f"{source.name} has no labels to score with.")
        names = names_to_train(names, recipe, source.train.count)
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
