"""Loading what skops saved, under a trust list.

Add a type to `CALIBRATION` when this package itself puts it into models. Keep other formats out: they run code from the
file they are loaded from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from monitoring_pipeline.errors import RegistryError

CALIBRATION = ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration")
"""What a recalibrated model consists of beside its estimator: holders of two numbers, which skops does not list."""


MOST_UNPACKED = 4 * 2**30
"""Bytes a skops file may unpack to: a small archive can hold a very large one."""


def load_trusted(file: Path, trusted_types: Sequence[str], name: str) -> Any:
    """Return what a skops file holds, if it has no other types than skops' own safe ones and the trusted ones."""
    import skops.io

    trusted = [*CALIBRATION, *trusted_types]
    try:
        with ZipFile(file) as archive:  # which unpacks no member beyond the size it states
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_UNPACKED:
            raise ValueError(f"it unpacks to {size:,} bytes, at most {MOST_UNPACKED:,} are loaded")
        if unknown := sorted(set(skops.io.get_untrusted_types(file=file)) - set(trusted)):
            raise RegistryError(
                f"{name} contains {', '.join(unknown)}: not on the trust list. If you know why the model needs it, "
                "add it to the trusted types; otherwise do not load this version."
            )
        return skops.io.load(file, trusted=trusted)
    except RegistryError:
        raise
    except Exception as error:
        raise RegistryError(f"{name}: {file.name} is not a skops file: {error}. Log the model again.") from error
