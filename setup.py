"""Packaging of keras_bt; tool settings live in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = runpy.run_path(str(HERE / "keras_bt" / "_support" / "version.py"))["__version__"]

HUB = ["tensorflow-hub>=0.16.1", "tf-keras>=2.21", "setuptools<82"]  # hub imports pkg_resources
ONNX = ["onnx", "onnxruntime", "tf2onnx"]
LITERT = ["ai-edge-litert"]
PARQUET = ["pyarrow"]
TENSORBOARD = ["tensorboard"]
ALL = [*HUB, *ONNX, *LITERT, *PARQUET, *TENSORBOARD]
DEV = ["hypothesis", "keras-hub", "mypy", "psutil", "pytest", "pytest-cov", "pytest-xdist", "ruff"]
DEV += ["ipykernel", "jsonschema", "nbclient", "selenium"]
DOCS = ["furo", "griffe", "myst-parser", "nbformat", "sphinx", "sphinx-copybutton"]
REPOSITORY = "https://github.com/keras-bt/keras-bt"

setup(
    name="keras-bt",
    version=VERSION,
    description="Barlow Twins self-supervised pretraining for Keras and TensorFlow",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url=REPOSITORY,
    project_urls={
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Documentation": f"{REPOSITORY}/blob/main/docs/index.md",
        "Results": f"{REPOSITORY}/blob/main/RESULTS.md",
    },
    keywords="self-supervised-learning barlow-twins keras tensorflow image-encoder pretraining",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["keras_bt", "keras_bt.*"]),
    package_data={"keras_bt": ["py.typed"], "keras_bt.report": ["*.html"]},
    entry_points={"console_scripts": ["keras-bt = keras_bt.cli.main:main"]},
    python_requires=">=3.11,<3.14",  # those of TensorFlow 2.21
    install_requires=[
        "absl-py",
        "jinja2",
        "importlib_resources",  # tensorflow-datasets imports it without declaring it
        "keras>=3.15,<3.16",  # private API, in _support/compat.py; so is TensorFlow's
        "keras-cv>=0.9",
        "matplotlib>=3.8",
        "numpy",
        "pillow>=10.1",
        "scikit-learn>=1.8",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10",
        "threadpoolctl>=3.1",
        "tqdm",
    ],
    extras_require={
        "cuda": ["tensorflow[and-cuda]"],
        "hub": HUB,
        "onnx": ONNX,
        "litert": LITERT,
        "parquet": PARQUET,
        "tensorboard": TENSORBOARD,
        "all": ALL,
        "docs": DOCS,
        "dev": [*DEV, *DOCS, *ALL],
    },
)
