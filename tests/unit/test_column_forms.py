"""What columns are to Python, NumPy, PyArrow, Polars and pandas."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy
import pandas
import polars
import pyarrow
import pytest
from tests.support.rows import Every, columns_of, example, value_of

from websocket_utils import decode_columns

# --- what columns are to Python ---


def test_columns_are_looked_up_by_name() -> None:
    columns = columns_of(map(example, range(3)))
    assert list(columns) == list(columns.names) == list(Every.__struct_fields__)
    assert "side" in columns
    assert "type" not in columns
    assert 3 not in columns
    with pytest.raises(KeyError, match="nothing"):
        columns["nothing"]
    assert repr(columns) == "<Columns of Every: 3 rows>"
    assert repr(columns["a_text"]) == "<Column a_text: 3 x text>"
    assert repr(columns["a_text"].codes) == "<Column codes of a_text: 3 x int32>"


def test_column_is_a_sequence() -> None:
    column = columns_of(map(example, range(7)))["maybe_text"]
    expected = [example(number).maybe_text for number in range(7)]
    assert list(column) == [column[index] for index in range(7)] == [column[index - 7] for index in range(7)]
    assert column.tolist() == expected
    assert len(column) == 7
    for index in (7, -8, 2**70):
        with pytest.raises(IndexError):
            column[index]


def test_text_is_codes_and_categories_and_numbers_are_not() -> None:
    columns = columns_of(map(example, range(7)))
    column = columns["maybe_text"]
    assert column.categories == ("é",)
    assert column.codes.tolist() == [-1, 0, 0, -1, 0, 0, -1]
    assert (column.codes.null_count, column.codes.dtype, column.codes.name) == (0, "int32", "maybe_text")
    assert columns["side"].categories == ("buy", "sell")
    assert columns["some_bytes"].categories == (b"\xff0", b"\xff1")
    for name in ("categories", "codes"):
        with pytest.raises(AttributeError, match="numbers"):
            getattr(columns["a_float"], name)
        with pytest.raises(AttributeError, match="numbers"):
            getattr(column.codes, name)


DTYPES = {
    "a_float": ("float64", "d"),
    "a_float32": ("float32", "f"),
    "an_int": ("int64", "q"),
    "a_uint64": ("uint64", "Q"),
    "an_int32": ("int32", "i"),
    "a_uint32": ("uint32", "I"),
    "a_bool": ("bool", "?"),
    "level": ("int64", "q"),
    "maybe_float": ("float64", "d"),
}


def test_numbers_are_read_only_buffers() -> None:
    columns = columns_of(map(example, range(7)))
    for name, (dtype, code) in DTYPES.items():
        column = columns[name]
        assert column.dtype == dtype
        view = memoryview(column)
        assert (view.format, view.readonly, view.ndim, view.shape) == (code, True, 1, (7,))
        assert view.c_contiguous
        if name != "maybe_float":
            assert view.tolist() == column.tolist()
        with pytest.raises(TypeError):
            view[0] = 0
        assert len(bytes(column)) == view.nbytes
    with pytest.raises(BufferError, match="codes"):
        memoryview(columns["a_text"])
    with pytest.raises(BufferError, match="without a value"):
        memoryview(columns["maybe_int"])


def test_buffer_outlives_columns_and_column() -> None:
    columns = columns_of(map(example, range(1000)))
    view = memoryview(columns["a_float"])
    alive = weakref.ref(columns)
    del columns
    gc.collect()
    assert alive() is None
    assert view.tolist() == [number + 0.5 for number in range(1000)]


def test_no_frames_make_columns_without_rows() -> None:
    columns = decode_columns(Every, [])
    assert len(columns) == 0
    assert columns["a_text"].tolist() == columns["a_float"].tolist() == []
    assert columns["a_text"].categories == ()
    assert memoryview(columns["a_float"]).nbytes == 0


# --- NumPy ---


@pytest.mark.parametrize("name", [*DTYPES, "codes"])
def test_numpy_array_is_a_view_of_the_numbers(name: str) -> None:
    columns = columns_of(map(example, range(7)))
    column = columns["a_text"].codes if name == "codes" else columns[name]
    first, second = numpy.asarray(column), column.to_numpy()
    assert first.dtype == second.dtype == numpy.dtype("int32" if name == "codes" else DTYPES[name][0])
    assert numpy.shares_memory(first, second)
    assert not first.flags.writeable
    expected = [float("nan") if value is None else value for value in column.tolist()]
    numpy.testing.assert_array_equal(first, expected)

    class Interface:
        __array_interface__ = column.__array_interface__

    by_interface = numpy.asarray(Interface())
    assert numpy.shares_memory(first, by_interface)
    assert by_interface.dtype == first.dtype
    assert not by_interface.flags.writeable
    del column, columns, second
    gc.collect()
    numpy.testing.assert_array_equal(first, expected)


def test_numpy_array_of_text_or_of_integers_without_a_value_holds_objects() -> None:
    columns = columns_of(map(example, range(7)))
    for name in ("a_text", "some_bytes", "side", "maybe_int", "maybe_bool", "maybe_text"):
        array = numpy.asarray(columns[name])
        assert array.dtype == object
        assert array.tolist() == columns[name].tolist()
        with pytest.raises(ValueError, match="without a copy"):
            columns[name].__array__(copy=False)
        assert not hasattr(columns[name], "__array_interface__")
    assert numpy.asarray(columns["a_float"], dtype="float32").dtype == "float32"
    assert columns["a_float"].__array__(dtype="float32", copy=True).dtype == "float32"


WITHOUT_NUMPY = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "pandas", "polars", "pyarrow"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from websocket_utils import PriceUpdate, decode_columns
frame = b'{"input_mint":"SOL","output_mint":"USDC","price":1.5,"timestamp":3}'
columns = decode_columns(PriceUpdate, [frame] * 3)
assert memoryview(columns["price"]).tolist() == list(columns["price"]) == [1.5] * 3
assert columns["input_mint"].tolist() == ["SOL"] * 3
columns.__arrow_c_stream__(), columns["price"].__arrow_c_array__(), columns["price"].__array_interface__
try:
    columns["price"].to_numpy()
except ModuleNotFoundError:
    print("fine")
assert "numpy" not in sys.modules
"""


def test_columns_work_without_numpy() -> None:
    command = [sys.executable, "-X", "dev", "-c", WITHOUT_NUMPY]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=15)
    assert (ran.stdout, ran.stderr) == ("fine\n", "")


# --- Arrow ---


def test_pyarrow_takes_columns_and_each_column() -> None:
    messages = [example(number) for number in range(20)]
    columns = columns_of(messages)
    rows = [{name: value_of(message, name) for name in columns} for message in messages]
    for table in (pyarrow.table(columns), pyarrow.record_batch(columns)):
        table.validate(full=True)
        assert table.to_pylist() == rows
        assert [field.nullable for field in table.schema] == [name.startswith("maybe") for name in columns]
    for column in columns.to_dict().values():
        array = pyarrow.array(column)
        array.validate(full=True)
        assert array.to_pylist() == column.tolist()
        assert array.null_count == column.null_count
        chunked = pyarrow.chunked_array(column)
        assert chunked.to_pylist() == column.tolist()
    assert pyarrow.array(columns["a_text"].codes).to_pylist() == columns["a_text"].codes.tolist()


@pytest.mark.parametrize("name", ["a_float", "a_float32", "an_int", "a_uint64", "an_int32", "a_uint32", "level"])
def test_arrow_array_is_a_view_that_outlives_the_columns(name: str) -> None:
    columns = columns_of(map(example, range(7)))
    column = columns[name]
    address, expected = column.__array_interface__["data"][0], column.tolist()
    of_column, of_table = pyarrow.array(column), pyarrow.table(columns)[name].chunk(0)
    assert of_column.buffers()[1].address == of_table.buffers()[1].address == address
    del column, columns
    gc.collect()
    assert of_column.to_pylist() == of_table.to_pylist() == expected


def test_categories_of_batches_without_new_texts_are_shared_not_copied() -> None:
    columns = columns_of(map(example, range(7)))
    first, second = pyarrow.array(columns["a_text"]), pyarrow.table(columns)["a_text"].chunk(0)
    assert first.dictionary.buffers()[2].address == second.dictionary.buffers()[2].address
    assert first.indices.buffers()[1].address == columns["a_text"].codes.__array_interface__["data"][0]


def test_capsules_that_nobody_takes_and_ones_that_are_taken_on_another_thread_are_released() -> None:
    columns = columns_of(map(example, range(7)))
    for _ in range(100):
        columns.__arrow_c_array__()
        columns.__arrow_c_stream__()
        columns.__arrow_c_schema__()
        columns["a_text"].__arrow_c_array__()
    taken = [pyarrow.table(columns)]
    column = pyarrow.table(columns)["a_text"].chunk(0).dictionary
    del columns
    thread = threading.Thread(target=taken.clear)
    thread.start()
    thread.join()
    assert column.to_pylist() == ["text 0", "text 1", "text 2"], "a dictionary outlives the array that it came with"
    (schema, array), taken_once = (
        columns_of([example()]).__arrow_c_array__(),
        pyarrow.RecordBatch._import_from_c_capsule,
    )
    assert taken_once(schema, array).num_rows == 1
    with pytest.raises(ValueError, match="released"):
        taken_once(schema, array)


def test_stream_ends_after_its_batch() -> None:
    reader = pyarrow.RecordBatchReader.from_stream(columns_of(map(example, range(7))))
    assert [batch.num_rows for batch in reader] == [7]


@pytest.mark.filterwarnings("default")  # those of another library's own code
def test_polars_takes_columns_without_a_copy_of_numbers() -> None:
    messages = [example(number) for number in range(20)]
    columns = columns_of(messages)
    frame = polars.DataFrame(columns)
    assert frame.to_dicts() == [{name: value_of(message, name) for name in columns} for message in messages]
    assert frame.schema["a_text"] == polars.Categorical
    for name in ("a_float", "a_uint64", "an_int32"):
        address = frame[name].to_numpy().__array_interface__["data"][0]
        assert address == columns[name].__array_interface__["data"][0]
        series = polars.Series(columns[name])
        assert (series.name, series.to_list()) == (name, columns[name].tolist())
    del columns
    gc.collect()
    assert frame["a_float"].to_list() == [message.a_float for message in messages]


@pytest.mark.filterwarnings("default")
def test_pandas_takes_columns_without_a_copy_of_numbers() -> None:
    columns = columns_of(map(example, range(7)))
    series = pandas.Series(columns["a_float"].to_numpy(), copy=False)
    assert numpy.shares_memory(series.to_numpy(), numpy.asarray(columns["a_float"]))
    text = columns["maybe_text"]
    categorical = pandas.Categorical.from_codes(numpy.asarray(text.codes), list(text.categories))
    assert categorical.isna().tolist() == [value is None for value in text]
    assert categorical.dropna().tolist() == [value for value in text if value is not None]
    frame = pandas.DataFrame(columns.to_dict())
    assert frame["a_text"].tolist() == columns["a_text"].tolist()
    assert frame["a_float"].dtype == "float64"
    assert pyarrow.table(columns).to_pandas()["a_text"].dtype == "category"
