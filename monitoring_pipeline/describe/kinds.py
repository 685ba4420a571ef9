"""How a column is read when nobody has said: its kind, from the type it is stored in.

Add a type here when a table can hold it. Keep reading of the values out: it belongs in `kernel`.
"""

import pyarrow as pa

from monitoring_pipeline.describe.columns import ColumnKind


def kind_of_type(type_: pa.DataType) -> ColumnKind | None:
    """Return the kind of a column of this type; None where its values have no distribution to compare (lists, …)."""
    if isinstance(type_, pa.BaseExtensionType):
        return kind_of_type(type_.storage_type)
    if pa.types.is_nested(type_):
        return None
    if pa.types.is_boolean(type_):
        return ColumnKind.BOOLEAN
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return ColumnKind.DATETIME
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return ColumnKind.NUMERIC
    return ColumnKind.CATEGORICAL
