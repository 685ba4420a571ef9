"""A real MLflow store on SQLite in a folder of its own.

Add what a test needs of an empty store here. Keep models out: tests log their own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

_MAKE_SCHEMA = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"


def mlflow_template() -> Path:
    """Return an empty MLflow database, made once per machine: creating its schema takes five to ten seconds."""
    name = f"monitoring-tests-{os.getuid()}-mlflow-{version('mlflow')}.db"
    template = Path(tempfile.gettempdir()) / name
    if not template.exists():
        # Beside it, so that the rename cannot leave half a file; a second maker only replaces it by its like.
        with tempfile.TemporaryDirectory(prefix="mlflow-", dir=template.parent) as folder:
            made = Path(folder) / name
            # In a process of its own, which closes the database when it ends.
            subprocess.run([sys.executable, "-c", _MAKE_SCHEMA, f"sqlite:///{made}"], check=True, cwd=folder)
            made.replace(template)
    return template


def load_mlflow() -> None:
    """Load what warns about type hints of its own when it is loaded first."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc  # noqa: F401 - imported for the warning


def new_mlflow_store(folder: Path) -> str:
    """Return the tracking URI of a new, empty store in `folder`."""
    load_mlflow()
    database = folder / "mlflow.db"
    shutil.copyfile(mlflow_template(), database)
    return f"sqlite:///{database}"
