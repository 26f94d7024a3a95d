"""``.npz``: archives and headers that lie, bombs, types, texts, attributes, damage."""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from corpus import Entry, cuts, flips
from corpus.hdf5 import good, packed_zeros


class Anything:
    """An object, pickled where an array was expected."""


def put(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays with numpy; ``None`` leaves one out."""
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})


def changed(name: str, told: str | tuple[str, ...] = (), hits: int | None = None, **changes: Any) -> Entry:
    make = functools.partial(put, arrays=good() | changes)
    return Entry(f"{name}.npz", make, (told,) if isinstance(told, str) else told, hits=hits)


def stated(name: str, told: str | tuple[str, ...], hits: int | None = None, text: str = "", **given: Any) -> Entry:
    """A good file with attributes, as JSON or as a text."""
    return changed(f"attributes_{name}", told, hits, attributes=np.array(text or json.dumps(given)))


def header(shape: tuple[int, ...] | str, dtype: str = "<i8", fortran: bool = False) -> bytes:
    """The header of an ``.npy`` stream; a shape that is a text is written as it is."""
    stream = io.BytesIO()
    if not isinstance(shape, str):
        told = {"descr": dtype, "fortran_order": fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, told)
        return stream.getvalue()
    text = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


def stream(values: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, np.asarray(values))
    return content.getvalue()


def packed(
    path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, twice: str = "", comment: bytes = b""
) -> None:
    """An archive of raw members beside good ones; ``None`` leaves one out."""
    good_ones = {f"{name}.npy": stream(values) for name, values in good().items()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in (good_ones | members).items():
            if content is not None:
                archive.writestr(name, content)
        if twice:
            archive.writestr(twice, good_ones.get(twice, b""))
        archive.comment = comment


def raw(name: str, told: str | tuple[str, ...] = (), hits: int | None = None, **more: Any) -> Entry:
    options = {key: more.pop(key) for key in ("exit_code", "megabytes", "slow") if key in more}
    make = functools.partial(packed, **more)
    return Entry(f"{name}.npz", make, (told,) if isinstance(told, str) else told, hits=hits, **options)


# ---- what is inside ---------------------------------------------------------------------------------------


def values() -> list[Entry]:
    coords, offsets = good()["coords"], good()["offsets"]
    huge = coords.astype(np.uint64)
    huge[1, 0] = 1 << 63
    odd_bool = np.array([0, 1, 2], np.uint8).view(bool)
    record = np.zeros(3, [("x", "i4"), ("y", "i4"), ("t", "i4")])
    words = "coords must be whole numbers"
    found = [
        changed("coords_2_63", "9223372036854775808", coords=huge),
        changed("coords_negative", ("x = -1", "hit 0 of event 0"), coords=coords - 2),
        changed("coords_big_endian", hits=3, coords=coords.astype(">i8"), offsets=offsets.astype(">i4")),
        changed("coords_fortran", hits=3, coords=np.asfortranarray(coords)),
        changed("coords_float", words, coords=coords.astype(float)),
        changed("coords_complex", words, coords=coords.astype(complex)),
        changed("coords_bool", words, coords=coords.astype(bool)),
        changed("coords_text", words, coords=coords.astype("U3")),
        changed("coords_dates", words, coords=coords.astype("M8[ns]")),
        changed("coords_record", "coords holds objects or records", coords=record),
        changed("coords_objects", "coords holds objects", coords=coords.astype(object)),
        changed("coords_pickled", "coords holds objects", coords=np.array([Anything()] * 3, object)),
        changed("coords_0d", "coords must have shape", coords=np.array(3)),
        changed("coords_1d", "coords must have shape", coords=np.zeros(9, int)),
        changed("coords_3d", "coords must have shape", coords=np.zeros((3, 3, 1), int)),
        changed("offsets_wrap", "offsets run backwards at event 1",
                offsets=np.array([0, (1 << 63) - 1, -(1 << 63), 3])),
        changed("offsets_backwards", "offsets run backwards", offsets=np.array([0, 3, 2, 3])),
        changed("offsets_far", "offsets must run from 0", offsets=np.array([0, 2, 4])),
        changed("offsets_float", "offsets must be whole", offsets=np.array([0.0, 3.0])),
        changed("offsets_2d", "offsets must be (E + 1,)", offsets=np.zeros((2, 2), int)),
        changed("offsets_none", "offsets must be (E + 1,)", offsets=np.zeros(0, int)),
        changed("offsets_objects", "offsets holds objects", offsets=np.array([0, 3], object)),
        changed("no_coords", "has no coords", coords=None),
        changed("nothing", "has no coords and no offsets", coords=None, offsets=None, a=np.zeros(3)),
        changed("signal_odd_bytes", "signal must be true or false", signal=odd_bool),
        changed("kept_odd_bytes", "kept must be true or false", kept=odd_bool),
        changed("signal_2", "signal must be true or false", signal=np.array([0, 1, 2])),
        changed("features_objects", "features holds objects", features=np.zeros((3, 1), object)),
        changed("features_1d", "features must have shape", features=np.zeros(3)),
        changed("features_long", hits=3, features=np.zeros((3, 1), np.longdouble)),
        changed("features_wide", "features has 5,000 columns", features=np.zeros((3, 5000), np.int8)),
        changed("event_id_text", hits=3, event_id=np.array(["a", "é"])),
        changed("event_id_bytes", hits=3, event_id=np.array([b"a", b"b"])),
        changed("event_id_combining", hits=3, event_id=np.array(["e\u0301", "\u0301"])),
        changed("event_id_nul", ("event_id", "NUL"), event_id=np.array(["a\0b", "c"])),
        changed("event_id_surrogate", ("event_id", "UTF-8"), event_id=np.array(["a\ud800", "c"])),
        changed("event_id_not_utf8", ("event_id", "UTF-8"), event_id=np.array([b"\xff", b"c"])),
        changed("event_id_beyond", "event_id", event_id=np.array([0x110000, 65], np.uint32).view("U1")),
        changed("event_id_long", ("event_id", "1,001 characters"), event_id=np.array(["a" * 1001, "c"])),
        changed("event_id_escape", hits=3, event_id=np.array(["\x1b[31m", "[/x]"])),
        changed("event_id_three", "event_id must have shape", event_id=np.arange(3)),
        changed("event_id_2_63", "event_id = 9223372036854775808", event_id=np.array([1, 1 << 63], np.uint64)),
        changed("times_inf", "event_time_ns of event 1", event_time_ns=np.array([0.0, np.inf])),
        changed("unknown_pickle", hits=3, other=np.array([Anything()], object)),
    ]  # fmt: skip
    for word, value in {"nan": np.nan, "inf": np.inf, "1e300": 1e300}.items():
        found.append(changed(f"feature_{word}", "not finite", features=np.array([[1.0], [value], [2.0]])))
    return found


def attributes() -> list[Entry]:
    grid = "attributes describe no grid"
    return [
        stated("none", (), hits=3, text="{}"),
        stated("null", "JSON object", text="null"),
        stated("list", "JSON object", text="[1, 2]"),
        stated("no_json", "attributes cannot be read", text="spatial_shape=3"),
        stated("deep", "attributes cannot be read", text="[" * 1000 + "]" * 1000),
        stated("deeper", "attributes cannot be read", text='{"a":' * 100_000 + "1" + "}" * 100_000),
        stated("digits", "attributes cannot be read", text='{"spatial_shape": [' + "9" * 5000 + ", 1, 1]}"),
        stated("twice", "attributes cannot be read", text='{"a": 1, "a": 2}'),
        stated("shape_deep", grid, text='{"spatial_shape": ' + "[" * 60 + "]" * 60 + "}"),
        stated("shape_text", grid, spatial_shape="wide"),
        stated("shape_long", grid, spatial_shape=[1] * 100_000),
        stated("shape_nan", grid, spatial_shape=[8, float("nan"), 10]),
        stated("shape_huge", grid, spatial_shape=[8, 1 << 62, 10]),
        stated("shape_1e400", (), text='{"spatial_shape": [1e400, 1, 1]}'),
        stated("widths_two", grid, spatial_shape=[8, 9, 10], bin_widths=[1, 1]),
        stated("widths_inf", grid, spatial_shape=[8, 9, 10], bin_widths=[1, float("inf"), 1]),
        stated("outside", "x = 1", spatial_shape=[1, 9, 10]),
        stated("values", "attributes cannot be read", text="[" + "1," * 1_100_000 + "1]"),
        stated("half", (), hits=3, note="\ud800"),
        changed("attributes_objects", "attributes holds objects", attributes=np.array(Anything(), object)),
        changed("attributes_number", "attributes must be one text", attributes=np.array(3)),
        changed("attributes_array", "attributes must be one text", attributes=np.array(["{}", "{}"])),
        changed("attributes_bytes", hits=3, attributes=np.array(b"{}")),
        changed("attributes_bytes_not_utf8", "attributes cannot be read", attributes=np.array(b"\xff")),
        changed("names_number", "feature_names", features=np.zeros((3, 1)),
                attributes=np.array('{"feature_names": 3}')),
        changed("names_nested", "feature_names", features=np.zeros((3, 1)),
                attributes=np.array('{"feature_names": [["a"]]}')),
        changed("names_same", "two features", features=np.zeros((3, 2)),
                attributes=np.array('{"feature_names": ["a", "a"]}')),
    ]  # fmt: skip


# ---- sizes ------------------------------------------------------------------------------------------------


def bomb(path: Path, megabytes: int, shape: tuple[int, ...], dtype: str = "|i1", name: str = "coords") -> None:
    """An array of zeros packed 1:1000; sizes and checksum are as they should be."""
    import zlib

    begin = header(shape, dtype)
    plain = megabytes << 20
    packer = zlib.compressobj(wbits=-15)
    first = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    content = first + packed_zeros(megabytes)[2:-4]
    checksum = zlib.crc32(begin)
    for _ in range(megabytes):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    rest = {"coords": [[1, 2, 3]], "offsets": [0, shape[0]]}
    del rest[name]
    packed_as(path, f"{name}.npy", content, len(begin) + plain, checksum)
    with zipfile.ZipFile(path, "a") as archive:
        for other, values in rest.items():
            archive.writestr(f"{other}.npy", stream(np.array(values)))


def packed_as(path: Path, name: str, content: bytes, size: int, checksum: int) -> None:
    """An archive of one member whose packed content, size and checksum are given."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, content)
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, size, checksum
        archive._didModify = True
    whole = bytearray(path.read_bytes())
    # The header in front of the member says so too.
    whole[8:10] = zipfile.ZIP_DEFLATED.to_bytes(2, "little")
    whole[14:18] = checksum.to_bytes(4, "little")
    whole[22:26] = size.to_bytes(4, "little")
    path.write_bytes(whole)


def sizes() -> list[Entry]:
    many = 132 << 20
    return [
        Entry("zeros_132_mb.npz", functools.partial(bomb, megabytes=132, shape=(many // 3, 3)),
              ("coords declares", "fewer hits")),
        Entry("zeros_60_mb.npz", functools.partial(bomb, megabytes=60, shape=(20 << 20, 3)),
              ("coords declares", "fewer hits")),
        Entry("zeros_9_mb.npz", functools.partial(bomb, megabytes=9, shape=(3 << 20, 3)), hits=3 << 20),
        raw("shape_2_40", "coords declares shape", members={"coords.npy": header((1 << 40, 3))}),
        raw("shape_2_62_of_nothing", "event_id declares shape",
            members={"event_id.npy": header((1 << 62,), "<U0")}),
        raw("bytes_of_nothing", "event_id declares shape", members={"event_id.npy": header((2,), "|S0")}),
        raw("shape_negative", "coords", members={"coords.npy": header("(-3, -3)") + bytes(72)}),
        raw("shape_text", "coords", members={"coords.npy": header("'wide'") + bytes(72)}),
        raw("shape_float", "coords", members={"coords.npy": header("(3.0, 3)") + bytes(72)}),
        raw("shape_bool", (), members={"coords.npy": header("(True, 3)") + bytes(24)}, exit_code=None),
        raw("shape_code", "coords", members={"coords.npy": header("__import__('os').getpid()") + bytes(72)}),
        raw("shape_deep", "coords", members={"coords.npy": header("(" * 4000 + ")" * 4000)}),
        raw("shape_long", "coords", members={"coords.npy": header("(" + "1," * 4000 + ")") + bytes(8)}),
        raw("header_none", "coords", members={"coords.npy": b"\x93NUMPY\1\0\xff\xff{"}),
        raw("header_4_gb", "coords", members={"coords.npy": b"\x93NUMPY\2\0\xff\xff\xff\xff{"}),
        raw("version_9", "coords", members={"coords.npy": b"\x93NUMPY\x09\0" + bytes(100)}),
        raw("type_unknown", "coords", members={"coords.npy": header((3, 3), "<q99") + bytes(72)}),
        raw("type_nested", "coords", members={"coords.npy": header((3,), "(3,)<i8") + bytes(72)}),
        raw("wide_no_rows", "features", members={
            "features.npy": header((0, 100_000_000), "<f4"), "coords.npy": stream(np.zeros((0, 3), int)),
            "offsets.npy": stream([0])}),
        raw("wider_no_rows", "features", members={
            "features.npy": header((0, 1 << 60), "<f4"), "coords.npy": stream(np.zeros((0, 3), int)),
            "offsets.npy": stream([0])}),
        raw("many_empty_events", "offsets declares 2,000,000 events", members={
            "coords.npy": stream(np.zeros((0, 3), int)), "offsets.npy": stream(np.zeros(2_000_001, np.int8))}),
        raw("short", "coords declares shape", members={"coords.npy": stream(good()["coords"])[:-1]}),
        raw("longer", "coords declares shape", members={"coords.npy": stream(good()["coords"]) + b"x"}),
        raw("empty_member", "coords", members={"coords.npy": b""}),
        raw("text_member", "coords", members={"coords.npy": b"1 2 3\n" * 100}),
    ]  # fmt: skip


# ---- the archive ------------------------------------------------------------------------------------------


@functools.cache
def whole(fill: str = "put") -> bytes:
    """A good archive, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        put(path, good() | {"features": np.zeros((3, 2)), "event_id": np.array(["a", "b"])})
        return path.read_bytes()


def patched(path: Path, at: int, content: bytes, central: bool = False) -> None:
    """A good archive with some bytes changed, in the first header or in the directory's first entry."""
    found = bytearray(whole())
    start = found.find(b"PK\1\2") if central else 0
    found[start + at : start + at + len(content)] = content
    path.write_bytes(found)


def patch(name: str, at: int, content: bytes, told: str = "", **more: Any) -> Entry:
    made = functools.partial(patched, at=at, content=content, central=more.pop("central", True))
    return Entry(f"{name}.npz", made, (told,), **more)


def many_members(path: Path, count: int) -> None:
    packed(path, {f"{i:06d}": b"" for i in range(count)}, zipfile.ZIP_STORED)


def archives() -> list[Entry]:
    return [
        raw("deflated", hits=3, members={}),
        raw("bzip2", "another way", members={}, method=zipfile.ZIP_BZIP2),
        raw("lzma", "another way", members={}, method=zipfile.ZIP_LZMA),
        raw("two_coords", "two members named 'coords'", members={}, twice="coords.npy"),
        raw("two_spellings", "two members named 'coords'", members={"coords": b""}),
        raw("leaves", "points outside", members={"../coords.npy": b""}),
        raw("root", "points outside", members={"/etc/passwd": b""}),
        raw("drive", "points outside", members={"C:coords.npy": b""}),
        raw("comment", hits=3, members={}, comment=b"by someone"),
        raw("comment_like_an_end", (), members={}, comment=b"PK\5\6" + bytes(18), exit_code=None),
        raw("names_escape", hits=3, members={"\x1b[31m": b"", "[/x]": b""}),
        Entry("many_members.npz", functools.partial(many_members, count=30_000), ("lists its members",)),
        Entry("some_members.npz", functools.partial(many_members, count=2000), hits=3),
        patch("encrypted", 8, b"\1\0", "encrypted"),
        patch("method_99", 10, b"\x63\0", "another way"),
        patch("checksum", 16, b"\0\0\0\0", "CRC"),
        patch("size_small", 24, b"\x10\0\0\0"),
        patch("size_large", 24, b"\xff\xff\xff\x7f"),
        patch("packed_size_large", 20, b"\xff\xff\xff\x7f", exit_code=None),
        patch("offset_large", 42, b"\xff\xff\xff\x7f"),
        patch("name_not_utf8", 46, b"\xff\xff\xff", exit_code=3),
        patch("local_name", 30, b"zzz", central=False),
        patch("local_signature", 0, b"PK\7\7", central=False),
        Entry("behind_text.npz", lambda path: path.write_bytes(b"some text\n" + whole()), ("begins with",)),
        Entry("text_behind.npz", lambda path: path.write_bytes(whole() + b"\n" * 20), exit_code=None),
        Entry("twice.npz", lambda path: path.write_bytes(whole() * 2), exit_code=None),
        Entry("empty_zip.npz", lambda path: zipfile.ZipFile(path, "w").close(), ("has no coords",)),
        Entry("empty.npz", lambda path: path.write_bytes(b""), ("empty (0 bytes)",)),
        Entry("one_byte.npz", lambda path: path.write_bytes(b"P"), ("begins with",)),
        Entry("zeros.npz", lambda path: path.write_bytes(bytes(1000)), ("begins with",)),
    ]


def damage() -> list[Entry]:
    size = len(whole())
    chance = np.random.default_rng(18)
    places = [*range(0, 60, 7), *range(size - 90, size, 7), *chance.integers(0, size, 30).tolist()]
    lengths = [3, 4, 30, 60, *range(100, size, 400), size - 22, size - 1]
    return [*flips(".npz", whole(), places), *cuts(".npz", whole(), lengths)]


def entries() -> list[Entry]:
    """All of ``.npz``."""
    return [*values(), *attributes(), *sizes(), *archives(), *damage()]
