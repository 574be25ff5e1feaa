"""What of the checkout is shipped: every package of `rmem_cli`, and two folders that lie beside it."""

from collections.abc import Iterator

from setuptools import find_packages, setup

BESIDE = {"rmem_cli.data_scripts": "data_scripts", "rmem_cli.recipes": "recipes"}


def packages() -> Iterator[str]:
    """The names of all packages, as they are imported."""
    yield from find_packages(include=["rmem_cli", "rmem_cli.*"])
    for name, folder in BESIDE.items():
        yield name
        yield from (f"{name}.{inner}" for inner in find_packages(folder))


setup(packages=list(packages()), package_dir=BESIDE)
