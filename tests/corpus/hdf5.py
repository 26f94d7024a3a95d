"""HDF5: sizes that lie or that are merely large, types, links, filters, attributes, damage."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corpus import Entry, cuts, flips

Fill = Callable[[h5py.File], None]
HUGE = 1 << 40


def good() -> dict[str, Any]:
    """Two events of two and one hits."""
    coords = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int32)
    return {"coords": coords, "offsets": np.array([0, 2, 3])}


def put(path: Path, arrays: dict[str, Any], attributes: dict[str, Any] | None = None, fill: Fill | None = None) -> None:
    """Write arrays (``None`` leaves one out), attributes, and what else there is to do."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
        if fill:
            fill(file)


def changed(name: str, told: str | tuple[str, ...] = (), hits: int | None = None, **changes: Any) -> Entry:
    """A good file with some arrays changed; an argument ``attributes`` sets those."""
    attributes = changes.pop("attributes", None)
    make = functools.partial(put, arrays=good() | changes, attributes=attributes)
    return Entry(f"{name}.h5", make, (told,) if isinstance(told, str) else told, hits=hits)


def filled(name: str, fill: Fill, told: str | tuple[str, ...] = (), hits: int | None = None, **more: Any) -> Entry:
    """A file filled by a function; ``without`` names arrays that are not there before."""
    without = more.pop("without", ("coords",))
    arrays = {key: value for key, value in good().items() if key not in without}
    make = functools.partial(put, arrays=arrays, fill=fill)
    return Entry(f"{name}.h5", make, (told,) if isinstance(told, str) else told, hits=hits, **more)


def coords_at(value: int, dtype: Any = np.int64) -> np.ndarray:
    coords = good()["coords"].astype(dtype)
    coords[1, 0] = value
    return coords


# ---- values and types -------------------------------------------------------------------------------------


def values() -> list[Entry]:
    found = [
        changed("coords_2_63", "9223372036854775808", coords=coords_at(1 << 63, np.uint64)),
        changed("coords_min", "-9223372036854775808", coords=coords_at(-(1 << 63))),
        changed("coords_max", "9223372036854775807", coords=coords_at((1 << 63) - 1)),
        changed("coords_negative", ("x = -1", "hit 1 of event 0"), coords=coords_at(-1, np.int32)),
        changed("coords_2_31", hits=3, coords=coords_at((1 << 31) - 1, np.int32)),
        changed("offsets_wrap", "offsets", offsets=np.array([0, (1 << 63) - 1, -(1 << 63), 3])),
        changed("offsets_wrap_to_3", "offsets", offsets=np.array([0, -(1 << 63), (1 << 63) - 1, 3])),
        changed("offsets_2_63", "9223372036854775808", offsets=np.array([0, 1 << 63], np.uint64)),
        changed("offsets_2_64", "18446744073709551615", offsets=np.array([0, (1 << 64) - 1], np.uint64)),
        changed("offsets_negative", "offsets", offsets=np.array([-1, 2, 3])),
        changed("offsets_nan", "offsets", offsets=np.array([0, np.nan, 3])),
        changed("offsets_scalar", "offsets", offsets=np.int64(3)),
        changed("offsets_2d", "offsets", offsets=np.zeros((1, 4), np.int64)),
        changed("offsets_none", "offsets", offsets=np.zeros(0, np.int64)),
        changed("offsets_too_far", "offsets", offsets=np.array([0, 2, 4])),
        changed("outside_stated", ("x = 4", "0..3"), attributes={"spatial_shape": [4, 9, 10]}),
        changed("id_2_63", "event_id", event_id=np.array([1, 1 << 63], np.uint64)),
        changed("hit_id_2_63", "hit_id", hit_id=np.array([1, 2, 1 << 63], np.uint64)),
        changed("track_2_31", "track", track=np.array([1, 2, 1 << 31])),
        changed("origin_300", "origin", origin=np.array([1, 2, 300])),
        changed("signal_2", "signal", signal=np.array([0, 1, 2])),
        changed("times_nan", "event_time_ns", event_time_ns=np.array([0.0, np.nan])),
    ]
    for word, value in {"nan": np.nan, "inf": np.inf, "minus_inf": -np.inf, "1e300": 1e300}.items():
        told = ("feature_0", "not finite", "hit 0 of event 1")
        found += [changed(f"feature_{word}", told, features=np.array([[1.0], [2.0], [value]]))]
        found += [changed(f"score_{word}", ("score", "hit 1 of event 0"), score=np.array([0.5, value, 0.5]))]
    return found


def types() -> list[Entry]:
    coords = good()["coords"]
    record = np.dtype([("x", "i4"), ("y", "i4"), ("t", "i4")])
    text = h5py.string_dtype()
    enum = h5py.enum_dtype({"NO": 0, "YES": 1}, basetype="i1")
    offsets = good()["offsets"]

    def array(name: str, *arguments: Any, **more: Any) -> Fill:
        return lambda file: file.create_dataset(name, *arguments, **more)

    words = "coords must be whole numbers"
    return [
        changed("coords_big_endian", hits=3, coords=coords.astype(">i8"), offsets=offsets.astype(">u2")),
        changed("coords_uint8", hits=3, coords=coords.astype(np.uint8)),
        changed("coords_uint64", hits=3, coords=coords.astype(np.uint64)),
        changed("coords_float", words, coords=coords.astype(float)),
        changed("coords_float16", words, coords=coords.astype(np.float16)),
        changed("coords_complex", words, coords=coords.astype(complex)),
        changed("coords_bool", words, coords=coords.astype(bool)),
        changed("coords_text", words, coords=coords.astype("S3")),
        changed("coords_void", "coords", coords=np.zeros((3, 3), "V8")),
        changed("coords_record", "coords", coords=np.zeros(3, record)),
        changed("coords_record_3", "coords", coords=np.zeros((3, 3), record)),
        changed("coords_0d", "coords must have shape", coords=np.int32(3)),
        changed("coords_1d", "coords must have shape", coords=np.zeros(9, np.int32)),
        changed("coords_4d", "coords must have shape", coords=np.zeros((3, 1, 1, 3), np.int32)),
        changed("coords_two_columns", "coords must have shape", coords=np.zeros((3, 2), np.int32)),
        changed("coords_four_columns", "coords must have shape", coords=np.zeros((3, 4), np.int32)),
        changed("coords_turned", "coords must have shape", coords=np.zeros((3, 5), np.int32)),
        filled("coords_vlen", array("coords", (3, 3), h5py.vlen_dtype("i4")), "objects"),
        filled("coords_vlen_text", array("coords", (3, 3), text), words),
        filled("coords_enum", array("coords", (3, 3), enum), hits=3),
        filled("coords_array_type", array("coords", (3,), np.dtype(("i4", (3,)))), "coords"),
        filled("coords_reference", array("coords", (3, 3), h5py.ref_dtype), "objects"),
        filled("coords_region", array("coords", (3, 3), h5py.regionref_dtype), "objects"),
        filled("coords_opaque", array("coords", (3, 3), h5py.opaque_dtype(np.dtype("M8[ns]"))), "coords"),
        filled("coords_empty_space", lambda file: file.__setitem__("coords", h5py.Empty("i4")), "coords"),
        filled(
            "offsets_empty_space",
            lambda file: file.__setitem__("offsets", h5py.Empty("i8")),
            "offsets",
            without=("offsets",),
        ),
        filled("coords_24_bit", odd_integer, exit_code=None),
        filled("signal_enum", array("signal", data=np.array([0, 1, 1], "i1"), dtype=enum), hits=3, without=()),
        changed("signal_bool", hits=3, signal=np.array([True, False, True])),
        changed("signal_float", "signal must be true or false", signal=np.array([0.0, 1.0, 1.0])),
        changed("features_half", hits=3, features=np.zeros((3, 2), np.float16)),
        changed("features_double_big", hits=3, features=np.zeros((3, 2), ">f8")),
        changed("features_long", hits=3, features=np.zeros((3, 2), np.longdouble)),
        changed("features_complex", "features must be real numbers", features=np.zeros((3, 2), complex)),
        changed("features_text", "features must be real numbers", features=np.zeros((3, 2), "S4")),
        changed("features_1d", "features must have shape", features=np.zeros(3)),
        changed("features_none", hits=3, features=np.zeros((3, 0), np.float32)),
        changed("features_few_names", "feature_names", features=np.zeros((3, 2)), attributes={"feature_names": ["a"]}),
        changed("features_same_names", "a", features=np.zeros((3, 2)), attributes={"feature_names": ["a", "a"]}),
        changed("names_number", "feature_names", features=np.zeros((3, 2)), attributes={"feature_names": 7}),
        changed("event_id_text", hits=3, event_id=np.array([b"one", b"two"])),
        changed("event_id_float", "event_id must be whole numbers", event_id=np.zeros(2)),
        changed("event_id_long", "event_id must have shape", event_id=np.arange(3)),
        changed("event_id_not_utf8", "event_id", event_id=np.array([b"\xff\xfe", b"two"])),
        changed("event_time_text", "event_time_ns", event_time_ns=np.array([b"a", b"b"])),
        changed("times_complex", "event_time_ns", event_time_ns=np.zeros(2, complex)),
        changed("no_hits", hits=0, coords=np.zeros((0, 3), int), offsets=np.zeros(4, int)),
        changed("no_events", hits=0, coords=np.zeros((0, 3), int), offsets=np.zeros(1, int)),
        changed("no_coords", "has no coords", coords=None),
        changed("no_offsets", "has no offsets", offsets=None),
        changed("nothing", "has no coords and no offsets", coords=None, offsets=None),
        changed("unknown_arrays", hits=3, extra=np.zeros(7), other=np.zeros((2, 2), complex)),
    ]


def odd_integer(file: h5py.File) -> None:
    """Integers of three bytes."""
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_size(3)
    space = h5py.h5s.create_simple((3, 3))
    h5py.h5d.create(file.id, b"coords", kind, space)


# ---- sizes ------------------------------------------------------------------------------------------------


def sizes() -> list[Entry]:
    def never_written(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str = "i4", **more: Any) -> None:
        file.create_dataset(name, shape, dtype, **more)

    def unwritten(name: str, *arrays: tuple[Any, ...], told: Any = (), **more: Any) -> Entry:
        def fill(file: h5py.File) -> None:
            for each, shape, dtype, options in arrays:
                never_written(file, each, shape, dtype, **options)

        without = tuple({each for each, *_ in arrays} & {"coords", "offsets"})
        return filled(name, fill, told, without=without, **more)

    def bomb(file: h5py.File, chunk: int, megabytes: int) -> None:
        """Ten rows in one packed chunk of ``chunk`` rows that unpacks to megabytes."""
        packed_by = {"maxshape": (None, 3), "chunks": (chunk, 3), "compression": "gzip"}
        array = file.create_dataset("coords", (10, 3), "i4", **packed_by)
        array.id.write_direct_chunk((0, 0), packed_zeros(megabytes))
        file["offsets"][...] = [0, 5, 10]

    one = {"chunks": (1,)}
    return [
        filled("one_chunk_of_gigabytes", functools.partial(bomb, chunk=1 << 28, megabytes=3 << 10), "chunks of 3,22"),
        filled("one_chunk_of_a_gigabyte", functools.partial(bomb, chunk=1 << 26, megabytes=768), "chunks of 805,"),
        filled("one_chunk_of_many_rows", functools.partial(bomb, chunk=1 << 20, megabytes=12), hits=10),
        filled("more_than_its_chunk", functools.partial(bomb, chunk=10, megabytes=1600), "holds a chunk of"),
        filled("more_than_its_large_chunk", functools.partial(bomb, chunk=1 << 18, megabytes=1600), "unpacks to more"),
        filled("a_little_more_than_its_chunk", functools.partial(bomb, chunk=1 << 18, megabytes=40), exit_code=None),
        unwritten("many_chunks", ("offsets", (10_000_000,), "i8", one), told="offsets"),
        unwritten(
            "many_chunks_coords",
            ("coords", (10_000_000, 3), "i4", {"chunks": (1, 1)}),
            ("offsets", (2,), "i8", {}),
            told="coords",
        ),
        unwritten(
            "wide_no_rows",
            ("features", (0, HUGE), "f4", {"maxshape": (None, None)}),
            ("coords", (0, 3), "i4", {}),
            ("offsets", (1,), "i8", {}),
            told="features",
        ),
        unwritten(
            "wide_no_rows_small",
            ("features", (0, 1 << 27), "f4", {"maxshape": (None, None)}),
            ("coords", (0, 3), "i4", {}),
            ("offsets", (1,), "i8", {}),
            told="features",
        ),
        unwritten(
            "wide_fill",
            ("features", (1, 30_000_000), "f4", {"fillvalue": 1.0}),
            ("coords", (1, 3), "i4", {}),
            ("offsets", (2,), "i8", {}),
            told="features",
        ),
        unwritten(
            "empty_events_int8",
            ("offsets", (130_000_000,), "i1", {"chunks": (1 << 20,)}),
            ("coords", (0, 3), "i4", {}),
            told="offsets",
        ),
        unwritten(
            "empty_events_1e6",
            ("offsets", (1_000_001,), "i1", {"chunks": (1 << 18,)}),
            ("coords", (0, 3), "i4", {}),
            hits=0,
        ),
        unwritten("coords_2_40", ("coords", (HUGE, 3), "i8", {"chunks": (1024, 3)}), told="coords"),
        unwritten("coords_2_62", ("coords", (1 << 62, 3), "i8", {"chunks": (1024, 3)}), told="coords"),
        unwritten("offsets_2_40", ("offsets", (HUGE,), "i8", {"chunks": (1024,)}), told="offsets"),
        unwritten("event_id_2_40", ("event_id", (HUGE,), "i8", {"chunks": (1024,)}), told="event_id"),
        unwritten("coords_contiguous_2_40", ("coords", (HUGE, 3), "i8", {}), told="coords"),
        unwritten("compressed_unwritten", ("coords", (1 << 24, 3), "i8", {"compression": "gzip"}), told="coords"),
    ]


def packed_zeros(megabytes: int) -> bytes:
    """Zeros as zlib packs them, made in no time: one packed megabyte over and over, and the checksum of all."""
    packer = zlib.compressobj(9, wbits=-15)
    part = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    total = ((megabytes << 20) % 65521 << 16) + 1
    return b"\x78\xda" + part * megabytes + b"\x03\x00" + total.to_bytes(4, "big")


def carried() -> list[Entry]:
    """Arrays of the user, which travel with the hits, and are no less dangerous than ours."""

    def array(*arguments: Any, **more: Any) -> Fill:
        return lambda file: file.create_dataset("mine", *arguments, **more)

    def bomb(file: h5py.File) -> None:
        packed = file.create_dataset("mine", (3,), "i4", maxshape=(None,), chunks=(3,), compression="gzip")
        packed.id.write_direct_chunk((0,), packed_zeros(1600))

    whole_file = {"without": (), "options": {"carry": True}}
    return [
        filled("mine", array(data=np.arange(3.0)), hits=3, **whole_file),
        filled("mine_wide", array((3, 1 << 28), "f8", chunks=(1, 1 << 17)), "mine", **whole_file),
        filled("mine_chunk", array((3,), "f8", maxshape=(None,), chunks=(1 << 28,)), exit_code=None, **whole_file),
        filled("mine_bomb", bomb, "mine", **whole_file),
        filled("mine_huge", array((1 << 40,), "f8", chunks=(1024,)), exit_code=None, **whole_file),
        filled("mine_link", lambda file: file.__setitem__("mine", h5py.SoftLink("/x")), exit_code=None, **whole_file),
        filled("mine_objects", array((3,), h5py.ref_dtype), exit_code=None, **whole_file),
        filled("mine_record", array((3,), [("a", "i4"), ("b", "f8")]), exit_code=None, **whole_file),
        filled("mine_texts", array(data=["a", "b", "c"]), exit_code=None, **whole_file),
    ]


def long_ids() -> list[Entry]:
    def long_texts(file: h5py.File, count: int, length: int, **more: Any) -> None:
        file.create_dataset("coords", (0, 3), "i4")
        file["offsets"] = np.zeros(count + 1, int)
        file.create_dataset("event_id", (count,), f"S{length}", **more)

    both = ("coords", "offsets")
    return [
        filled(
            "ids_fixed_10_mb",
            functools.partial(long_texts, count=1000, length=10_000_000, chunks=(1,)),
            "event_id",
            without=both,
        ),
        filled("ids_fixed_1000", functools.partial(long_texts, count=3, length=1000), hits=0, without=both),
        Entry("ids_one_text_10_mb.h5", same_text, ("event_id",)),
        Entry("ids_one_text_100_kb.h5", functools.partial(same_text, length=100_000), ("event_id",)),
    ]


def same_text(path: Path, length: int = 10_000_000, count: int = 1000) -> None:
    """Ids that all lead to one and the same long text in the file's heap."""
    put(path, {"coords": np.zeros((0, 3), int), "offsets": np.zeros(count + 1, int)})
    with h5py.File(path, "a") as file:
        file.create_dataset("event_id", (count,), h5py.string_dtype())
        ids = file["event_id"]
        ids[0] = "a" * length
        ids[1:] = "b"
        place = ids.id.get_offset()
    content = bytearray(path.read_bytes())
    first = bytes(content[place : place + 16])
    content[place : place + 16 * count] = first * count
    path.write_bytes(content)


# ---- links, filters, places -------------------------------------------------------------------------------


def links() -> list[Entry]:
    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3, 3), "i4")
        layout[:] = h5py.VirtualSource("other.h5", "coords", (3, 3))
        file.create_virtual_dataset("coords", layout)

    def link(target: Any) -> Fill:
        return lambda file: file.__setitem__("coords", target)

    def group(name: str) -> Fill:
        return lambda file: file.create_group(name)

    def external(file: h5py.File, name: str = "/etc/passwd") -> None:
        file.create_dataset("coords", (3, 3), "i4", external=[(name, 0, 36)])

    def groups(file: h5py.File) -> None:
        for event in range(3):
            inner = file.create_group(f"event_{event}")
            inner["coords"] = good()["coords"]

    def compound(file: h5py.File) -> None:
        kind = np.dtype([("event", "i4"), ("x", "i4"), ("y", "i4"), ("t", "i4")])
        file["hits"] = np.zeros(5, kind)

    def named_type(file: h5py.File) -> None:
        file["coords"] = np.dtype("i4")

    both = ("coords", "offsets")
    return [
        filled("soft_link", link(h5py.SoftLink("/offsets")), "link"),
        filled("dangling_link", link(h5py.SoftLink("/nowhere")), "link"),
        filled("loop_of_links", link(h5py.SoftLink("/coords")), "link"),
        filled("external_link", link(h5py.ExternalLink("other.h5", "coords")), "link"),
        filled("external_link_pipe", link(h5py.ExternalLink("/dev/zero", "coords")), "link"),
        filled("external_storage", external, "other files"),
        filled("external_storage_pipe", functools.partial(external, name="/dev/zero"), "other files"),
        filled("virtual", virtual, "other files"),
        filled("group_coords", group("coords"), "coords must be an array"),
        filled("group_offsets", group("offsets"), "offsets must be an array", without=("offsets",)),
        filled("group_features", group("features"), "features must be an array", without=()),
        filled("named_type", named_type, "coords must be an array"),
        filled("groups_of_events", groups, ("has no coords", "event_0"), without=both),
        filled("compound_table", compound, ("has no coords", "hits"), without=both),
    ]


def filters() -> list[Entry]:
    def packed(**more: Any) -> Fill:
        return lambda file: file.create_dataset("coords", data=good()["coords"], chunks=(3, 3), **more)

    def unknown(code: int, word: bytes = b"\0" * 16) -> Fill:
        """An array that was packed by a filter that is not there."""

        def fill(file: h5py.File) -> None:
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_chunk((3, 3))
            creation.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
            space = h5py.h5s.create_simple((3, 3))
            array = h5py.h5d.create(file.id, b"coords", h5py.h5t.STD_I32LE, space, creation)
            array.write_direct_chunk((0, 0), word)

        return fill

    def offsets_unknown(file: h5py.File) -> None:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((3,))
        creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        array = h5py.h5d.create(file.id, b"offsets", h5py.h5t.STD_I64LE, h5py.h5s.create_simple((3,)), creation)
        array.write_direct_chunk((0,), b"\0" * 16)

    good_ways: dict[str, dict[str, Any]] = {
        "gzip": {"compression": "gzip"},
        "lzf": {"compression": "lzf"},
        "shuffle": {"shuffle": True, "compression": "gzip"},
        "fletcher": {"fletcher32": True},
        "scaleoffset": {"scaleoffset": 0},
        "track_times": {"track_times": True},
    }
    if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        good_ways["szip"] = {"compression": "szip"}
    known = {
        32001: "blosc",
        32004: "lz4",
        32015: "zstd",
        32008: "bitshuffle",
        32026: "blosc2",
        307: "bzip2",
        32013: "zfp",
    }
    return [
        *(filled(f"packed_{name}", packed(**way), hits=3) for name, way in good_ways.items()),
        *(
            filled(f"plugin_{name}", unknown(code), (name, "hdf5plugin", "coords"), exit_code=7)
            for code, name in known.items()
        ),
        filled("plugin_unknown", unknown(999), ("999", "coords"), exit_code=7),
        filled("plugin_offsets", offsets_unknown, ("zstd", "offsets", "hdf5plugin"), exit_code=7, without=("offsets",)),
    ]


# ---- attributes -------------------------------------------------------------------------------------------


def attributes() -> list[Entry]:
    shape = [8, 9, 10]
    deep = "[" * 1000 + "8" + "]" * 1000
    grid = "attributes describe no grid"

    def stated(name: str, told: Any = grid, hits: int | None = None, **given: Any) -> Entry:
        return changed(f"attribute_{name}", told, hits, attributes={"spatial_shape": shape, **given})

    return [
        stated("none", hits=3, told=()),
        stated("shape_deep", spatial_shape=deep),
        stated("shape_deeper", spatial_shape="[" * 30_000 + "]" * 30_000),
        stated("shape_map", spatial_shape=json.dumps({"x": 8, "y": 9, "t": 10})),
        stated("shape_text", spatial_shape="wide"),
        stated("shape_two", spatial_shape=[8, 9]),
        stated("shape_four", spatial_shape=[8, 9, 10, 11]),
        stated("shape_0", spatial_shape=[8, 0, 10]),
        stated("shape_negative", spatial_shape=[8, -9, 10]),
        stated("shape_nan", spatial_shape=[8, np.nan, 10]),
        stated("shape_inf", spatial_shape=[8, np.inf, 10]),
        stated("shape_fraction", spatial_shape=[8.5, 9, 10]),
        stated("shape_2_62", spatial_shape=[1 << 62, 9, 10]),
        stated("shape_empty", spatial_shape=h5py.Empty("i8")),
        stated("shape_scalar", spatial_shape=8),
        stated("shape_2d", spatial_shape=np.ones((3, 3), int)),
        stated("shape_complex", spatial_shape=np.ones(3, complex)),
        stated("shape_1e6", spatial_shape=json.dumps([1] * 20_000)),
        stated("widths_inf", bin_widths=[1.0, np.inf, 1.0]),
        stated("widths_nan", bin_widths=[1.0, np.nan, 1.0]),
        stated("widths_0", bin_widths=[1.0, 0.0, 1.0]),
        stated("widths_negative", bin_widths=[1.0, -1.0, 1.0]),
        stated("widths_two", bin_widths=[1.0, 1.0]),
        stated("widths_text", bin_widths="narrow"),
        stated("names_two", axis_names=["x", "y"]),
        stated("names_deep", axis_names=deep),
        stated("units_two", axis_units=["mm", "mm"]),
        stated("robots_on_torch", detector="robots", spatial_shape=[88, 128, 1000]),
        stated("not_utf8", told=(), hits=3, detector=np.bytes_(b"\xff\xfe")),
        stated("detector_10_kb", told=(), hits=3, detector="d" * 10_000),
        stated("detector_markup", told=(), hits=3, detector="[/x]"),
        stated("detector_escape", told=(), hits=3, detector="\x1b[31mred\x1b[0m"),
        stated("format_version_99", told="format_version", format="pointae-hits", format_version=99),
        stated("format_other", told=(), hits=3, format="something else"),
        stated("reference", told=(), hits=3, more=np.zeros(3)),
        stated("many", told=(), hits=3, **{f"a{i}": i for i in range(900)}),
        stated("too_many", told="attributes", **{f"a{i}": i for i in range(3000)}),
        stated("long", told=(), hits=3, a=json.dumps(["a" * 5_000_000])),
        stated("record", told=(), hits=3, a=np.zeros(3, [("x", "i4"), ("y", "f8")])),
        stated("references", told=(), hits=3, a=np.array([b"ab"], h5py.opaque_dtype(np.dtype("V2")))),
        stated("texts_not_utf8", told=(), hits=3, a=np.array([b"\xff", b"a"])),
        stated("nothing", told=(), hits=3, a=h5py.Empty("f8")),
        Entry("attribute_one_text_10_mb.h5", same_names, ("attribute 'feature_names'",)),
        stated("name_markup", told=(), hits=3, **{"[/x]": 1, "\x1b[31m": 2}),
    ]


def same_names(path: Path, count: int = 1000) -> None:
    """Names of features that all lead to one and the same text of 10 MB."""
    texts = np.array(["a" * 10_000_000, *["b"] * (count - 1)], object)
    put(path, good() | {"features": np.zeros((3, count), np.float32)}, {"feature_names": texts})
    content = path.read_bytes()
    lengths = [int.to_bytes(length, 4, "little") for length in (10_000_000, 1)]
    at = next(at for at in places(content, lengths[0]) if content[at + 16 : at + 20] == lengths[1])
    path.write_bytes(content[:at] + content[at : at + 16] * count + content[at + 16 * count :])


def places(content: bytes, part: bytes) -> Iterator[int]:
    at = content.find(part)
    while at >= 0:
        yield at
        at = content.find(part, at + 1)


# ---- names ------------------------------------------------------------------------------------------------


def names() -> list[Entry]:
    odd = {"markup": "[/x]", "escape": "\x1b[31mred\x07", "mathtext": "$\\bad{$", "line": "a\nb", "wide": "\u202etxt"}
    found = []
    for word, name in odd.items():
        feature = np.array([[1.0], [np.inf], [2.0]])
        found += [
            changed(f"names_{word}", "not finite", features=feature, attributes={"feature_names": [name]}),
            changed(f"array_{word}", "has no coords", coords=None, **{name: np.zeros(3)}),
            changed(f"id_{word}", hits=3, event_id=np.array([name, "b"], object)),
        ]
    return [*found, *file_names()]


def file_names() -> list[Entry]:
    text = ("[red]", "\x1b[31mred", "$x_{$", "a b", "-o", "é" * 100, "%20?", "'\"", "\\n")
    return [Entry(f"{word}.h5", functools.partial(put, arrays=good()), hits=3) for word in text]


# ---- damage -----------------------------------------------------------------------------------------------


@functools.cache
def whole() -> bytes:
    """A file with every kind of array, as bytes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        put(
            path,
            good() | {"features": np.zeros((3, 2)), "event_id": np.array(["a", "b"], object)},
            {"spatial_shape": [8, 9, 10], "feature_names": ["a", "b"], "note": "x" * 100},
        )
        return path.read_bytes()


def damage() -> list[Entry]:
    size = len(whole())
    chance = np.random.default_rng(17)
    lengths = [1, 7, 8, 9, 47, 96, 100, *range(200, size, 800), size - 1]
    return [
        *cuts(".h5", whole(), lengths),
        *flips(".h5", whole(), [*range(8, 120, 5), *chance.integers(0, size, 60).tolist()]),
        Entry("empty.h5", lambda path: path.write_bytes(b""), ("empty (0 bytes)",)),
        Entry("zeros.h5", lambda path: path.write_bytes(bytes(10_000)), ("begins with",)),
        Entry("only_magic.h5", lambda path: path.write_bytes(whole()[:8])),
        Entry("twice.h5", lambda path: path.write_bytes(whole() * 2), hits=3),
        Entry("more_behind.h5", lambda path: path.write_bytes(whole() + b"more"), hits=3),
        Entry("user_block.h5", user_block, hits=3),
    ]


def user_block(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in good().items():
            file[name] = values
    content = bytearray(path.read_bytes())
    content[:20] = b"# a text of someone\n"
    path.write_bytes(content)


def entries() -> list[Entry]:
    """All of HDF5."""
    return [
        *values(), *types(), *sizes(), *carried(),
        *long_ids(), *links(), *filters(), *attributes(), *names(), *damage(),
    ]  # fmt: skip
