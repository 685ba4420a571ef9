"""Build the committed Parquet of the demonstration from `Bikeshare.csv`, as the wheel of `ISLP` carries it.

    python examples/bike_demand/build_data.py [Bikeshare.csv]

Without a path, pip fetches the wheel from the index it is set up for. One file of it is read as data; the package is
never installed. Keep choices about the model out, they belong in model.py.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SHA256 = "ac6950ae6f11efcc69c29d6bb13e8881c001e27d36434660d59444a1414f712c"
BIKES = Path(__file__).parent / "data" / "bikes.parquet"
ZONE = "America/New_York"

SCHEMA = pa.schema(
    [
        ("hour_start", pa.timestamp("us", tz="UTC")),
        ("bikers", pa.float64()),
        ("hr", pa.float64()),
        ("weekday", pa.float64()),
        ("holiday", pa.bool_()),
        ("workingday", pa.bool_()),
        ("weathersit", pa.string()),
        ("temp", pa.float64()),
        ("atemp", pa.float64()),
        ("hum", pa.float64()),
        ("windspeed", pa.float64()),
    ]
)


def download(folder: Path) -> Path:
    """Fetch the wheel with pip, take the one file out of it and return its path."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "ISLP==0.6.0"], cwd=folder, check=True)
    with ZipFile(next(folder.glob("*.whl"))) as wheel:
        return Path(wheel.extract("ISLP/data/Bikeshare.csv", folder))


def read_source(file: Path) -> pd.DataFrame:
    """Return the rows of the file, after checking that it is the one expected."""
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{file}: sha256 is {found}, need {SHA256}. Take Bikeshare.csv from the wheel of ISLP 0.6.0.")
    return pd.read_csv(io.BytesIO(content))


def build(source: pd.DataFrame) -> pa.Table:
    """Return one row per hour in which bikes were rented, in the order of time."""
    days, hours = (pd.to_timedelta(source[name], unit=unit) for name, unit in (("day", "D"), ("hr", "h")))
    local = pd.Timestamp(2011, 1, 1) - pd.Timedelta(days=1) + days + hours
    # The hour that the clocks repeat in November has one row. It is taken for the first of the two.
    moments = local.dt.tz_localize(ZONE, ambiguous=True, nonexistent="raise").dt.tz_convert("UTC")
    flags = {name: source[name] == 1 for name in ("holiday", "workingday")}
    rows = source.assign(hour_start=moments, **flags)
    ordered = rows.sort_values("hour_start", ignore_index=True)[SCHEMA.names]
    # Without pandas' own metadata, which names library versions and would change the bytes.
    return pa.Table.from_pandas(ordered, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)


def write(table: pa.Table, path: Path) -> None:
    """Write the table; the same table and pyarrow version give the same bytes."""
    pq.write_table(table, path, compression="zstd", compression_level=19)


def main() -> None:
    """Run from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        table = build(read_source(Path(sys.argv[1]) if len(sys.argv) > 1 else download(Path(folder))))
    write(table, BIKES)
    print(f"{BIKES}: {table.num_rows:,} hours, {BIKES.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
