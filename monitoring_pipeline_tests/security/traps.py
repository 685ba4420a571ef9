"""Models that leave a mark on disk when anything in them is run: pickles, skops files, descriptions, code.

Add a way to have code run from a registered model here. Keep what must not run it out: that belongs in the tests.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Trap:
    """Touches a file when it is unpickled, or built by skops."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.mark),)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Path(state["mark"]).touch()

    def __getstate__(self) -> dict[str, Any]:
        return {"mark": self.mark}


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Trap(str(mark)))


def description(mark: Path) -> str:
    """Return an MLmodel file that names loaders, code and pickles, and calls a function when YAML builds objects."""
    return f"""\
artifact_path: model
flavors:
  python_function:
    code: code
    data: model.pkl
    loader_module: evil
    python_version: 3.11.0
  sklearn:
    code: code
    pickled_model: ../../../model.pkl
    serialization_format: cloudpickle
signature: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]
"""


def plain_description(saved_as: str = "skops", file: str = "model.skops") -> str:
    """Return an MLmodel file that promises a harmless skops file."""
    inputs = json.dumps([{"name": name, "type": "double", "required": True} for name in ("usage", "tenure")])
    return f"""\
artifact_path: model
flavors:
  sklearn: {{pickled_model: {file}, serialization_format: {saved_as}}}
signature: {{inputs: '{inputs}'}}
"""


def skops_file(path: Path, mark: Path) -> None:
    """Write a skops file with an object that is run when it is built."""
    import skops.io

    skops.io.dump({"model": Trap(str(mark))}, path)


def forged_skops_file(path: Path, mark: Path) -> None:
    """Write a skops file whose schema calls a function by its name, and has a pickle in place of an array."""
    call = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
    }
    array = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "type": "numpy"}
    schema = {
        "__class__": "partial",
        "__module__": "functools",
        "__loader__": "PartialNode",
        "content": {"func": call, "args": array | {"file": "array.npy"}},
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        archive.writestr("array.npy", pickled(mark))


def bomb(path: Path, size: int) -> None:
    """Write a small skops file that unpacks to `size` bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("schema.json", "w") as member:
        for _ in range(size // 2**20):
            member.write(b" " * 2**20)


def set_traps(folder: Path, mark: Path) -> None:
    """Replace what is in a model's folder by everything that could run code."""
    (folder / "MLmodel").write_text(description(mark))
    for name in ("model.pkl", "model.skops", "python_model.pkl", "input_example.json", "requirements.txt"):
        (folder / name).write_bytes(pickled(mark))
    (folder / "code").mkdir(exist_ok=True)
    touch = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    for name in ("evil.py", "sitecustomize.py", "__init__.py"):
        (folder / "code" / name).write_text(touch)
