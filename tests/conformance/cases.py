"""The cases that are compared with the oracle, by what they are about."""

from __future__ import annotations

from datasets import LayerSpec, MagSpec, Storage

from .case import WKW, ZARR, ZARR3, mags, several, single

FORMATS = {"wkw": WKW, "zarr": ZARR, "zarr3": ZARR3}
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
SEG = "segmentation"

DTYPES = [
    *(
        single(f"{dtype} color {pattern} in {name}", FORMATS[name], dtype=dtype, size=(45, 38, 41), pattern=pattern)
        for dtype, name, pattern in [
            *((dtype, "zarr3", "random") for dtype in INTEGERS),
            *((dtype, "zarr", "extremes") for dtype in INTEGERS),
            *((dtype, "wkw", "random") for dtype in INTEGERS),
        ]
    ),
    *(
        single(
            f"{dtype} labels in {name}", FORMATS[name], dtype=dtype, category=SEG, pattern=pattern, size=(50, 44, 39)
        )
        for dtype, name, pattern in [
            ("uint8", "wkw", "few"),
            ("uint16", "zarr", "labels"),
            ("uint32", "zarr3", "labels"),
            ("uint32", "wkw", "labels"),
            ("uint64", "zarr3", "extremes"),
            ("uint64", "wkw", "random"),
            ("int8", "zarr", "few"),
            ("int64", "zarr3", "extremes"),
        ]
    ),
    *(
        single(
            f"{dtype} {category} {pattern} in {name}", FORMATS[name], dtype=dtype, category=category, pattern=pattern
        )
        for dtype, category, pattern, name in [
            ("float32", "color", "random", "zarr3"),
            ("float32", "color", "extremes", "zarr"),
            ("float32", "color", "extremes", "wkw"),
            ("float64", "color", "extremes", "zarr3"),
            ("float64", "color", "random", "wkw"),
            ("float32", SEG, "extremes", "zarr3"),
            ("float64", SEG, "few", "zarr"),
        ]
    ),
    single("spelled float64", dtype="float64", element_class="float64", pattern="random"),
    *(single(f"uint24 in {name}", storage, num_channels=3, size=(70, 35, 40)) for name, storage in FORMATS.items()),
    single("two channels of uint16", dtype="uint16", num_channels=2, size=(40, 40, 70)),
    single("two channels of uint16 in wkw", WKW, dtype="uint16", num_channels=2, size=(40, 40, 70)),
    single("two channels of uint8 labels", ZARR, num_channels=2, category=SEG, pattern="few"),
]

SOURCES = [
    single(
        "zarr order C, separator dot, big endian",
        Storage("zarr", order="C", byteorder="big", separator="."),
        dtype="int16",
    ),
    single("zarr blosc, exact shape", Storage("zarr", compressor="blosc", exact_shape=True), size=(37, 41, 33)),
    single("zarr zlib, small chunks", Storage("zarr", (8, 16, 4), compressor="gzip", order="C")),
    single("zarr uncompressed, fill value 7, sparse", Storage("zarr", compressor="none", fill_value=7), margin=0),
    single("zarr fill value null", Storage("zarr", fill_value=None)),
    single("zarr big chunks", Storage("zarr", (128, 128, 128)), topleft=(100, 30, 20)),
    single("zarr c,z,y,x", Storage("zarr", axes="czyx"), category=SEG, pattern="labels", size=(40, 60, 35)),
    single("zarr without c", Storage("zarr", axes="xyz"), size=(40, 60, 35)),
    single("zarr by zarr-python", Storage("zarr", writer="zarr-python", order="C"), dtype="uint16"),
    single(
        "zarr3 by zarr-python, sharded",
        Storage("zarr3", (16, 16, 16), (64, 64, 64), writer="zarr-python"),
        dtype="uint16",
    ),
    single(
        "zarr3 sharded, index at start",
        Storage("zarr3", (16, 16, 16), (64, 32, 64), index_at_start=True),
        dtype="uint32",
    ),
    single(
        "zarr3 gzip, order C, big endian",
        Storage("zarr3", compressor="gzip", order="C", byteorder="big"),
        dtype="int32",
    ),
    single(
        "zarr3 blosc, separator dot, exact shape", Storage("zarr3", compressor="blosc", separator=".", exact_shape=True)
    ),
    single(
        "zarr3 crc32c only, fill value 9",
        Storage("zarr3", compressor="none", fill_value=9),
        margin=0,
        size=(50, 40, 40),
    ),
    single("zarr3 c,z,y,x", Storage("zarr3", axes="czyx"), size=(40, 60, 35)),
    single("zarr3 z,y,x without c", Storage("zarr3", axes="zyx"), size=(40, 60, 35), category=SEG, pattern="labels"),
    single("zarr3 c,y,x,z", Storage("zarr3", axes="cyxz"), num_channels=3, size=(40, 34, 33)),
    single("zarr3 without axisOrder", axis_order=False, size=(60, 40, 40)),
    single("zarr3 channelIndex 1", Storage("zarr3", axes="cxyz", channel_index=1), size=(40, 41, 42)),
    single("zarr3 t", Storage("zarr3", axes="ctxyz"), additional_axes=(("t", 0, 3),)),
    single("zarr3 t from 2, c,t,z,y,x", Storage("zarr3", axes="ctzyx"), additional_axes=(("t", 2, 5),), dtype="uint16"),
    single(
        "zarr3 t and q", Storage("zarr3", axes="tcqxyz"), additional_axes=(("t", 0, 2), ("q", 1, 3)), num_channels=3
    ),
    single("zarr array ends before the box", Storage("zarr", missing=20), size=(64, 40, 40)),
    single("zarr3 array ends before the box", Storage("zarr3", missing=20, exact_shape=True), size=(64, 40, 40)),
    single("wkw blocks of 8", Storage("wkw", (8, 8, 8), (32, 32, 32)), size=(50, 40, 40)),
    single("wkw raw", Storage("wkw", (32, 32, 32), compressor="none"), dtype="uint16"),
]

GEOMETRY = [
    *(
        single(
            f"box {size} at {topleft} in {name}",
            FORMATS[name],
            topleft=topleft,
            size=size,
            category=category,
            pattern="few",
        )
        for topleft, size, name, category in [
            ((1, 3, 5), (41, 33, 37), "zarr3", "color"),
            ((7, 0, 63), (58, 65, 90), "zarr3", SEG),
            ((127, 1, 33), (1, 90, 40), "zarr", "color"),
            ((31, 31, 31), (2, 2, 2), "wkw", "color"),
            ((5, 5, 5), (1, 1, 1), "wkw", SEG),
            ((63, 65, 3), (40, 3, 7), "wkw", "color"),
            ((1000, 2000, 515), (30, 25, 40), "zarr", "color"),
            ((2047, 511, 1), (9, 60, 35), "wkw", SEG),
        ]
    ),
    single("depth 1", ZARR, size=(80, 70, 1), topleft=(3, 2, 9)),
    single("depth 1 in wkw", WKW, size=(80, 70, 1), category=SEG, pattern="labels"),
    single("depth 1 in zarr3, odd place", size=(60, 50, 1), topleft=(1, 2, 3), options={"coarsest_mag": "2"}),
    single("depth 32 in zarr3", size=(60, 50, 32), options={"coarsest_mag": "2"}),
    single("depth 9 in zarr3, labels", size=(50, 33, 9), category=SEG, pattern="labels", options={"coarsest_mag": "2"}),
    single("depth 2 in zarr", ZARR, size=(33, 34, 2)),
    single("zeros in zarr3", pattern="zeros", size=(70, 40, 40)),
    single("zeros in wkw", WKW, pattern="zeros", size=(70, 40, 40)),
    single("sparse in zarr3", pattern="sparse", size=(90, 80, 70)),
    single("sparse in wkw", WKW, pattern="sparse", size=(300, 80, 70)),
    single("no shards (D=1)", size=(70, 66, 40), chunks_per_shard="1"),
    single("no shards (D=1) in wkw", WKW, size=(70, 66, 40), chunks_per_shard="1", dtype="uint16"),
    single("large shards (D=4)", size=(150, 66, 40), chunks_per_shard="4,4,4", pattern="em"),
    single("large shards (D=4) in wkw", WKW, size=(150, 66, 40), chunks_per_shard="(4,4,4)", pattern="em"),
    single("anisotropic shards", size=(150, 66, 40), chunks_per_shard="4,2,1"),
    single("default shards", size=(40, 40, 40), chunks_per_shard=None, options={"coarsest_mag": "2"}),
    single("default shards in wkw", WKW, size=(40, 40, 40), chunks_per_shard=None, options={"coarsest_mag": "2"}),
]

SCHEMES = [
    single("anisotropic voxels", voxel_size=(11.24, 11.24, 28.0), size=(90, 80, 40), options={"coarsest_mag": "8"}),
    single("very flat voxels", WKW, voxel_size=(4.0, 4.0, 35.0), topleft=(1, 1, 1), options={"coarsest_mag": "16"}),
    single(
        "long voxels in x", ZARR, voxel_size=(2.0, 1.0, 1.0), options={"coarsest_mag": "8"}, category=SEG, pattern="few"
    ),
    single("three voxel lengths", voxel_size=(1.0, 2.0, 4.0), options={"coarsest_mag": "16"}),
    single("scale as a list", ZARR, voxel_size=(4.0, 4.0, 8.0), unit=None),
    single("micrometers", ZARR, voxel_size=(0.004, 0.004, 0.01), unit="µm"),
    single(
        "isotropic mode", voxel_size=(4.0, 4.0, 35.0), options={"sampling_mode": "isotropic", "coarsest_mag": "8-8-2"}
    ),
    single("constant z", options={"sampling_mode": "constant_z", "coarsest_mag": "8"}, size=(70, 60, 40)),
    single("constant z after 2-2-1", ZARR, mags=mags(1, (2, 2, 1)), options={"sampling_mode": "constant_z"}),
    single("wide box decides the coarsest mag", ZARR, size=(401, 20, 10)),
    single("nothing to do", options={"coarsest_mag": "1"}),
    single("mags 1 2 4 exist", mags=mags(1, 2, 4)),
    single("gap between mags 1 and 4", mags=mags(1, 4), options={"coarsest_mag": "8"}),
    single("only mag 2 exists", WKW, mags=mags(2), topleft=(3, 5, 7), options={"coarsest_mag": "8"}),
    single("4-4-2 exists, then 8", mags=mags((4, 4, 2)), options={"coarsest_mag": "8"}, size=(64, 64, 64)),
    single(
        "4-4-1 exists, then 8 and 16", ZARR, mags=mags((4, 4, 1)), options={"coarsest_mag": "16"}, size=(80, 64, 60)
    ),
    single(
        "1-1-2 exists, then 4", mags=mags((1, 1, 2)), options={"coarsest_mag": "8"}, topleft=(8, 16, 4), category=SEG
    ),
    several(
        "another layer forces 2-2-1 and 4-4-4",
        LayerSpec("color", pattern="em", size=(60, 50, 40)),
        LayerSpec("other", mags=mags((2, 2, 1), 4), size=(60, 50, 40)),
        options={"layer_name": "color", "coarsest_mag": "4"},
    ),
    several(
        "a forced mag is coarser than asked for",
        LayerSpec("color", storage=WKW),
        LayerSpec("other", storage=ZARR, mags=mags(1, 2, 4)),
        options={"layer_name": "color", "coarsest_mag": "4-4-1"},
    ),
    several(
        "flat and deep layers",
        LayerSpec("color", storage=ZARR, size=(60, 40, 1)),
        LayerSpec("deep", storage=ZARR, size=(60, 40, 40), mags=mags(1, (2, 2, 1))),
        options={"coarsest_mag": "4-4-1", "sampling_mode": "constant_z"},
    ),
    several(
        "three formats, all layers",
        LayerSpec("wkw", storage=WKW, pattern="em"),
        LayerSpec("zarr", storage=ZARR, dtype="uint16"),
        LayerSpec("zarr3", category=SEG, dtype="uint32", pattern="labels"),
        voxel_size=(1.0, 1.0, 2.0),
    ),
]

AFFINE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
VIEW = {"color": [255, 0, 10], "alpha": 20, "intensityRange": [0, 200], "isInverted": True, "unknown": 1}
PLACES = [
    *(
        several(
            f"mag {place} in {name}", LayerSpec("a b", storage=FORMATS[name], mags=(MagSpec(place=place),)), options={}
        )
        for place, name in [
            ("unlisted", "zarr3"),
            ("absolute", "wkw"),
            ("symlink", "zarr3"),
            ("symlink", "wkw"),
            ("foreign", "zarr"),
            ("foreign", "zarr3"),
            ("foreign_absolute", "zarr3"),
        ]
    ),
    single("long mag name, no path", mags=(MagSpec(place="unlisted", long_name=True),)),
    single("long mag name in path", WKW, mags=(MagSpec(long_name=True),)),
    single("foreign mag 1 and own mag 2", mags=(MagSpec(place="foreign"), MagSpec((2, 2, 2)))),
    *(single(f"symlinked layer in {name}", storage, symlinked=True) for name, storage in FORMATS.items()),
    several("symlinked layer beside another", LayerSpec("color", symlinked=True), LayerSpec("own", storage=ZARR)),
    single("wkwResolutions", WKW, old_resolutions=True),
    single("wkwResolutions with two mags", WKW, old_resolutions=True, mags=mags(1, 2), options={"coarsest_mag": "8"}),
    single("existing OME file with other attributes", attributes={"ome": {"version": "0.5"}, "mine": {"a": [1]}}),
    single("existing OME file with other attributes in zarr", ZARR, attributes={"multiscales": [], "mine": 1}),
    single(
        "unknown fields everywhere",
        extra={"adminViewConfiguration": {"x": 1}, "surprise": [1, {"ä": None}], "defaultViewConfiguration": VIEW},
        mag_extra={"credentialId": "abc"},
        extra_dataset={
            "version": 1,
            "mystery": {"deep": [1.5, 1e30]},
            "defaultViewConfiguration": {"zoom": 2, "layers": {}},
        },
        indent=None,
    ),
    single(
        "segmentation fields",
        WKW,
        category=SEG,
        dtype="uint64",
        pattern="labels",
        extra={
            "largestSegmentId": {"customJsonEncoding": "bigint", "value": "18446744073709551615"},
            "mappings": ["a.json"],
        },
    ),
    single("coordinate transformations", extra={"coordinateTransformations": [{"type": "affine", "matrix": AFFINE}]}),
]

CASES = [*DTYPES, *SOURCES, *GEOMETRY, *SCHEMES, *PLACES]
