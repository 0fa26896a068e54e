"""What `import keras_bt` prints, each time in a fresh process."""

import os
import subprocess
import sys

import keras
import pytest

from keras_bt._support.start_up import LOG_LEVEL, check_backend

ONEDNN = "oneDNN custom operations are on"
TRAIN_A_LITTLE = """
import keras_bt
import tensorflow as tf
tf.function(lambda: tf.reduce_sum(tf.random.normal([8, 8])), jit_compile=True)()
list(tf.data.Dataset.range(3))
"""


def run(code, *arguments, status=0, **environment):
    """Runs Python code in a fresh process; returns its stderr."""
    inherited = {name: value for name, value in os.environ.items() if name != LOG_LEVEL}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stderr


def test_import_and_first_steps_print_nothing():
    assert run(TRAIN_A_LITTLE) == ""


@pytest.mark.slow
def test_child_processes_print_nothing():
    code = "import subprocess, sys, keras_bt; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    assert run(code, "import keras_bt") == ""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["0", "2"])
def test_log_level_of_the_user_shows_tensorflows_messages(level):
    assert ONEDNN in run("import keras_bt", **{LOG_LEVEL: level})


@pytest.mark.slow
def test_messages_are_shown_if_tensorflow_is_imported_first():
    assert ONEDNN in run("import tensorflow, keras_bt", TF_ENABLE_ONEDNN_OPTS="1")


def test_failing_import_shows_what_it_printed(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'library is missing\\n')\nraise ImportError('no TensorFlow')\n"
    )
    stderr = run("import keras_bt", PYTHONPATH=str(tmp_path), status=1)
    assert "library is missing" in stderr
    assert stderr.endswith("ImportError: no TensorFlow\n")


@pytest.mark.slow
def test_python_prints_on_stderr_after_the_import():
    assert run("import sys, keras_bt; print('after', file=sys.stderr)") == "after\n"


@pytest.mark.slow
def test_import_works_without_stderr():
    code = """
import os, subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", "import keras_bt"], preexec_fn=lambda: os.close(2))
         .returncode)
"""
    run(code)


def backend_is_not_installed():
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


@pytest.mark.parametrize("backend", [lambda: "torch", backend_is_not_installed])
def test_other_backends_are_refused(monkeypatch, backend, capsys):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras.config, "backend", backend)
    with pytest.raises(ImportError, match="got 'torch'; set .* KERAS_BACKEND=tensorflow"):
        check_backend()
    for program in ("/usr/bin/keras-bt", "-m"):
        monkeypatch.setattr(sys, "argv", [program])
        with pytest.raises(SystemExit) as ended:
            check_backend()
        assert ended.value.code == 2
        assert (
            capsys.readouterr().err.splitlines()[0].startswith("keras-bt: keras_bt needs Keras's")
        )


def test_a_missing_package_is_not_taken_for_a_backend(monkeypatch):
    def other():
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras.config, "backend", other)
    with pytest.raises(ModuleNotFoundError, match="h5py"):
        check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflo")
    with pytest.raises(ImportError, match="got 'tensorflo'"):
        check_backend()
