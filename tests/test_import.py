"""Effects of `import keras_bt`, each in a new process."""

import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_bt
from keras_bt._support.onednn import VARIABLE, cpu_flags, off_by_default

# Keras itself imports parts of some of these where they are installed.
LATE = {"kagglehub", "keras_cv", "PIL", "sklearn", "tensorflow_datasets", "tqdm"}


def run(code, *arguments, **environment):
    """Runs Python code in a new process; returns its stdout and stderr."""
    inherited = {k: v for k, v in os.environ.items() if k != VARIABLE}
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)],
        env={**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip(), process.stderr


@pytest.mark.slow
def test_imports_few_packages_besides_keras():
    code = """
import sys, tensorflow, keras
before = set(sys.modules)
import keras_bt
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    imported = set(run(code)[0].split())
    assert "keras_bt" in imported
    assert not imported & LATE


@pytest.mark.slow
def test_imports_views_on_first_use():
    code = """
import keras_bt
assert "BarlowTwinsView" not in vars(keras_bt) and "BarlowTwinsView" in dir(keras_bt)
from keras_bt.layers import views
print(views.__name__, keras_bt.BarlowTwinsView is views.BarlowTwinsView)
from keras_bt import *
print(set(keras_bt.__all__) <= set(globals()))
"""
    assert run(code)[0] == "keras_bt.layers.views True\nTrue"
    with pytest.raises(AttributeError, match="'keras_bt' has no attribute 'BarlowTwin'"):
        keras_bt.BarlowTwin  # noqa: B018


@pytest.mark.slow
def test_saved_views_load_after_import_of_the_package(tmp_path, tiny_model, images):
    view = keras_bt.BarlowTwinsView(4, seed=3, name="view")
    view_model = keras.Sequential([keras.Input((8, 8, 3)), view, keras.layers.Flatten()])
    model = tiny_model("published")
    model.compile("sgd")
    model.fit(images, verbose=0)
    view_model.save(tmp_path / "views.keras")
    model.save(tmp_path / "model.keras")
    (tmp_path / "view.json").write_text(keras.saving.serialize_keras_object(view).__repr__())
    code = """
import ast, sys, keras, keras_bt
folder = sys.argv[1]
view_model = keras.saving.load_model(f"{folder}/views.keras")
model = keras.saving.load_model(f"{folder}/model.keras")
config = ast.literal_eval(open(f"{folder}/view.json").read())
views = [*view_model.layers[:1], *model.views, keras.saving.deserialize_keras_object(config)]
print(*(view.seed for view in views if type(view) is keras_bt.BarlowTwinsView))
print(keras.saving.get_registered_object("keras_bt>BarlowTwinsView") is keras_bt.BarlowTwinsView)
"""
    assert run(code, tmp_path)[0] == "3 0 1 3\nTrue"


@pytest.mark.slow
def test_pickled_model_loads_without_an_import(tmp_path, tiny_model, images):
    model = tiny_model("published")
    expected = model.predict(images, verbose=0)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.savez(tmp_path / "arrays.npz", images=images, expected=expected)
    code = """
import pickle, sys, numpy as np
folder = sys.argv[1]
arrays = np.load(f"{folder}/arrays.npz")
model = pickle.load(open(f"{folder}/model.pickle", "rb"))
print(np.abs(model.predict(arrays["images"], verbose=0) - arrays["expected"]).max() < 1e-5)
"""
    assert run(code, tmp_path)[0] == "True"


ONEDNN_IN_USE = """
from tensorflow.python.framework.test_util import IsMklEnabled
print(IsMklEnabled())
"""


@pytest.mark.slow
def test_onednn_is_on_if_keras_bt_is_imported_first():
    printed, logged = run(f"import keras_bt{ONEDNN_IN_USE}")
    assert printed == "True" and "import keras_bt before" not in logged


@pytest.mark.slow
def test_advises_import_order_on_a_cpu_without_avx512():
    code = """
import keras, pathlib
pathlib.Path.read_text = lambda path: "flags : fpu avx avx2"
import keras_bt
"""
    assert run(code)[1].count("import keras_bt before keras and tensorflow") == 1
    printed, logged = run(
        f"{code}import os\nprint(os.environ['TF_ENABLE_ONEDNN_OPTS'])", **{VARIABLE: "0"}
    )
    assert printed == "0" and "import keras_bt before" not in logged


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow checks the CPU on Linux only")
def test_tensorflow_enables_onednn_on_the_expected_cpus():
    assert run(ONEDNN_IN_USE)[0] == str(not off_by_default(cpu_flags()))
