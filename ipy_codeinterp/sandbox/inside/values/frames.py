"""pandas' values inside JSON: each column with its dtype, its values as base64 of little-endian bytes or as a list.

Not Arrow, since that needs pyarrow, keeps no nested lists or dicts as they are, and changes its bytes with every
version: equal frames are equal bytes here.

    frame   columns, index, data: a vector a column       series   name, index, values
    index   {"i": "range" | "flat" | "multi", ...}        vector   {"t": dtype, "v": values, ...}
"""

from __future__ import annotations

from typing import Any

from . import arrays, plain
from .unfit import Unfit, no_way

TAGS = ("frame", "series", "index", "timestamp", "pandas-timedelta", "NaT", "NA")
UNITS = ("s", "ms", "us", "ns")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = ("bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128")
# pandas' own numbers, which may be missing, by the numpy ones below them.
MASKED = {"boolean": "bool", "Float32": "float32", "Float64": "float64"}
MASKED |= {name.replace("i", "I", 1).replace("u", "U", 1): name for name in INTEGERS}
MOST_FREQ = 20  # characters


def encode(value: Any) -> Any:
    import pandas as pd

    kind = type(value)
    if kind is pd.DataFrame:
        return {
            plain.TAG: "frame",
            "columns": _index(value.columns),
            "index": _index(value.index),
            "data": [_named_vector(value.iloc[:, at], value.columns[at]) for at in range(value.shape[1])],
        }
    if kind is pd.Series:
        name, index = plain.encode(value.name), _index(value.index)
        return {plain.TAG: "series", "name": name, "index": index, "values": _vector(value)}
    if isinstance(value, pd.Index):
        return {plain.TAG: "index", "v": _index(value)}
    if value is pd.NaT or value is pd.NA:
        return {plain.TAG: "NA" if value is pd.NA else "NaT"}
    if kind is pd.Timestamp:
        moment = plain.encode(int(value.asm8.view("i8")))
        return {plain.TAG: "timestamp", "v": moment, "unit": value.unit, "zone": plain.zone_of(value.tzinfo)}
    if kind is pd.Timedelta:
        return {plain.TAG: "pandas-timedelta", "v": plain.encode(int(value.asm8.view("i8"))), "unit": value.unit}
    raise no_way(value)


def decode(said: Any) -> Any:
    import numpy as np
    import pandas as pd

    unit: Any = _unit(said) if "unit" in said else None
    match said[plain.TAG]:
        case "frame":
            return _frame(said)
        case "series":
            index = _of_index(said["index"])
            return _series(said["values"], index).rename(_hashable(said["name"]))
        case "index":
            return _of_index(said["v"])
        case "timestamp":
            moment = pd.Timestamp(np.datetime64(_whole(said["v"]), unit))
            zone = plain.of_zone(said["zone"])
            return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
        case "pandas-timedelta":
            return pd.Timedelta(np.timedelta64(_whole(said["v"]), unit))
    return pd.NA if said[plain.TAG] == "NA" else pd.NaT


# --- out ------------------------------------------------------------------------------------------


def _named_vector(values: Any, name: object) -> dict[str, Any]:
    try:
        return _vector(values)
    except Unfit as error:
        raise Unfit(f"column {str(name)[:80]!r}: {error}") from None


def _vector(values: Any) -> dict[str, Any]:
    """The values of a Series or an Index, with their dtype."""
    import numpy as np
    import pandas as pd

    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(values.array)
    if isinstance(dtype, pd.DatetimeTZDtype):
        moments = values.array.tz_convert("UTC").tz_localize(None).astype("int64")
        return {"t": "datetime", "unit": dtype.unit, "zone": plain.zone_of(dtype.tz), "v": _bytes(moments)}
    if isinstance(dtype, pd.StringDtype):
        is_missing = values.isna()
        texts = [None if gone else text for text, gone in zip(values, is_missing, strict=True)]
        return {"t": "string", "missing": "NA" if dtype.na_value is pd.NA else "nan", "v": texts}
    if str(dtype) in MASKED and not isinstance(dtype, np.dtype):
        data = values.array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return {"t": str(dtype), "v": _bytes(data), "na": _bytes(np.asarray(values.isna()))}
    if isinstance(dtype, np.dtype):
        return _of_numpy(np.asarray(values.array))
    raise Unfit(f"values of dtype {dtype} cannot travel: convert them with .astype")


def _of_numpy(values: Any) -> dict[str, Any]:
    dtype = values.dtype
    if dtype.kind in "Mm":
        unit = str(dtype)[:-1].partition("[")[2]
        zone = {"zone": None} if dtype.kind == "M" else {}
        return {"t": "datetime" if zone else "timedelta", "unit": unit, **zone, "v": _bytes(values.view("i8"))}
    if dtype.kind == "O":
        return {"t": "object", "v": plain.encode(values.tolist())}
    if dtype.name in NUMBERS:
        return {"t": dtype.name, "v": _bytes(values)}
    raise Unfit(f"values of dtype {dtype} cannot travel: convert them with .astype")


def _category(values: Any) -> dict[str, Any]:
    codes, categories = values.codes, _vector(values.categories)
    return {
        "t": "category",
        "ordered": bool(values.ordered),
        "categories": categories,
        "size": codes.dtype.name,
        "v": _bytes(codes),
    }


def _index(index: Any) -> dict[str, Any]:
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        name = plain.encode(index.name)
        return {"i": "range", "start": index.start, "stop": index.stop, "step": index.step, "name": name}
    if isinstance(index, pd.MultiIndex):
        levels, names = [_vector(level) for level in index.levels], [plain.encode(name) for name in index.names]
        codes = [_bytes(code.astype("int64")) for code in map(pd.Index, index.codes)]
        return {"i": "multi", "names": names, "levels": levels, "codes": codes}
    said = {"i": "flat", "name": plain.encode(index.name), "values": _vector(index)}
    freq = getattr(index, "freqstr", None)
    return said | ({"freq": freq} if freq else {})


def _bytes(values: Any) -> str:
    import numpy as np

    values = np.asarray(values)
    return plain.b64(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


# --- back -----------------------------------------------------------------------------------------


def _frame(said: Any) -> Any:
    import pandas as pd

    index, columns = _of_index(said["index"]), _of_index(said["columns"])
    if len(columns) != len(said["data"]):
        raise Unfit(f"a frame with {len(columns)} names and {len(said['data'])} columns")
    series = {at: _series(vector, index) for at, vector in enumerate(said["data"])}
    frame = pd.DataFrame(series, index=index, copy=False)
    frame.columns = columns
    return frame


def _series(vector: Any, index: Any) -> Any:
    import pandas as pd

    values = _values(vector)
    if len(values) != len(index):
        raise Unfit(f"{len(values)} values for {len(index)} rows")
    return pd.Series(values, index=index, dtype=values.dtype, copy=False)


def _values(vector: Any) -> Any:
    """An array of numpy or pandas, of the dtype that is said."""
    import numpy as np
    import pandas as pd

    said, name = vector["v"], vector["t"]
    if name in NUMBERS:
        return _array(said, name)
    if name in MASKED:
        values = _array(said, MASKED[name])
        made = pd.array(values, dtype=name)
        gone = _array(vector["na"], "bool")
        if len(gone) != len(values):
            raise Unfit("a mask of another length")
        made[gone] = pd.NA
        return made
    if name == "string":
        is_na = vector["missing"] == "NA"
        texts = [None if each is None else plain.one_of(each, str) for each in plain.one_of(said, list)]
        return pd.array(texts, dtype=pd.StringDtype() if is_na else _str_dtype())
    if name == "object":
        made = np.empty(len(plain.one_of(said, list)), object)
        for at, each in enumerate(said):
            made[at] = plain.decode(each)
        return made
    if name == "category":
        codes, categories = _array(said, vector["size"]), _as_index(vector["categories"])
        return pd.Categorical.from_codes(codes, categories=categories, ordered=bool(vector["ordered"]))
    if name in ("datetime", "timedelta"):
        values = _array(said, "int64").view(f"{'M' if name == 'datetime' else 'm'}8[{_unit(vector)}]")
        zone = plain.of_zone(vector.get("zone"))
        return values if zone is None else pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone).array
    raise Unfit(f"nobody knows values {str(name)[:40]!r}")


def _str_dtype() -> Any:
    """pandas' own type for text: before its version 3 that was any object."""
    import numpy as np
    import pandas as pd

    return pd.StringDtype(na_value=np.nan) if int(pd.__version__.partition(".")[0]) >= 3 else np.dtype(object)


def _of_index(said: Any) -> Any:
    import pandas as pd

    if said["i"] == "range":
        start, stop, step = (plain.one_of(said[name], int) for name in ("start", "stop", "step"))
        return pd.RangeIndex(start, stop, step, name=_hashable(said["name"]))
    if said["i"] == "multi":
        levels, codes = [_as_index(each) for each in said["levels"]], [_array(each, "int64") for each in said["codes"]]
        return pd.MultiIndex(levels=levels, codes=codes, names=[_hashable(name) for name in said["names"]])
    index = _as_index(said["values"]).rename(_hashable(said["name"]))
    freq = said.get("freq")
    if freq is not None:
        if type(freq) is not str or len(freq) > MOST_FREQ:
            raise Unfit("an index of no frequency")
        index = type(index)(index, freq=freq)
    return index


def _as_index(vector: Any) -> Any:
    import pandas as pd

    values = _values(vector)
    return pd.Index(values, dtype=values.dtype)


def _array(said: Any, name: Any) -> Any:
    """The numbers of base64, of a dtype that is one of ours."""
    import numpy as np

    if name not in NUMBERS:
        raise Unfit(f"nobody knows numbers {str(name)[:40]!r}")
    dtype, data = np.dtype(name).newbyteorder("<"), plain.of_b64(said)
    return arrays.made(dtype, (len(data) // dtype.itemsize,), data)


def _hashable(said: Any) -> Any:
    found = plain.decode(said)
    hash(found)
    return found


def _whole(said: Any) -> int:
    return int(plain.one_of(plain.decode(said), int))


def _unit(said: Any) -> str:
    if said["unit"] not in UNITS:
        raise Unfit(f"nobody knows a unit {str(said['unit'])[:20]!r}")
    return str(said["unit"])
