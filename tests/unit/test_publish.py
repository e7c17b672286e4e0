"""Publishing: all or nothing for whoever reads the dataset, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow import commit as commit_module
from wkflow import publish as publish_module
from wkflow.errors import ConflictError, LayerNotFoundError, VerificationError
from wkflow.levels import Level
from wkflow.publish import publish
from wkflow.run import Run

EXTRA = {"adminViewConfiguration": {"brightness": 1.50}, "defaultViewConfiguration": {"layers": {"color": {"min": 0}}}}


def spec(data_format: str = "zarr3") -> DatasetSpec:
    layer = LayerSpec(
        size=(70, 40, 40),
        pattern="few",
        storage=Storage(data_format),  # type: ignore[arg-type]
        extra={"credentialId": "c"},
    )
    return DatasetSpec((layer,), extra=EXTRA)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(spec(), tmp_path / "dataset")


@pytest.fixture
def ready(dataset: Path) -> Run:
    """Mags 2 and 4 are computed, not published."""
    return compute(start(dataset))


def properties(dataset: Path) -> Any:
    return json.loads((dataset / "datasource-properties.json").read_bytes())


def edit(dataset: Path, change: Callable[[Any], object]) -> None:
    """As another program would: read, change, write."""
    content = properties(dataset)
    change(content)
    (dataset / "datasource-properties.json").write_text(json.dumps(content))


def mags(dataset: Path) -> list[int]:
    return [entry["mag"][0] for entry in properties(dataset)["dataLayers"][0]["mags"]]


def test_nothing_is_seen_before_and_everything_after(dataset: Path, ready: Run) -> None:
    assert mags(dataset) == [1]
    assert not (dataset / "color" / "2").exists()
    publish_all(ready)
    assert mags(dataset) == [1, 2, 4]
    assert ready.is_done
    assert json.loads(ready.dir.published("l0").read_bytes())["mags"].keys() == {"2", "4"}


def test_mags_whose_records_were_lost_are_made_once_more_and_found_to_be_there(dataset: Path, ready: Run) -> None:
    publish_all(ready)
    before = tree(dataset)
    for _ in range(2):
        for marker in ready.dir.markers.iterdir():
            marker.unlink()
        publish_all(compute(start(dataset)))
        assert tree(dataset) == before
    assert not list(dataset.glob("color/.wkflow/*"))


def test_a_mag_that_was_changed_since_and_has_lost_its_record_is_not_replaced(dataset: Path, ready: Run) -> None:
    publish_all(ready)
    for marker in ready.dir.markers.iterdir():
        marker.unlink()
    (dataset / "color/2/mine").write_text("x")
    again = compute(start(dataset))
    with pytest.raises(ConflictError, match="a mag that was made before was changed since"):
        publish_all(again)
    assert (dataset / "color/2/mine").exists()


def test_staging_is_removed_afterwards(dataset: Path, ready: Run) -> None:
    assert (dataset / "color" / ".wkflow").exists()
    publish_all(ready)
    assert sorted(path.name for path in (dataset / "color").iterdir()) == ["1", "2", "4", "zarr.json"]


def test_staging_of_another_run_stays(dataset: Path, ready: Run) -> None:
    other = dataset / "color" / ".wkflow" / "other"
    other.mkdir()
    publish_all(ready)
    assert [path.name for path in other.parent.iterdir()] == ["other"]


def test_publishing_again_changes_nothing(dataset: Path, ready: Run) -> None:
    publish_all(ready)
    before = tree(dataset, hidden=True)
    publish_all(ready)
    assert tree(dataset, hidden=True) == before


class Killed(BaseException):
    pass


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Die instead of the call of this number to something that publishing uses. ``name``: of a module, and in it."""
    module, attribute = name.split(".")
    owner = {"shutil": shutil, "publish": publish_module, "commit": commit_module}[module]
    function = getattr(owner, attribute)
    calls = 0

    def killing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Killed
        return function(*arguments, **options)

    monkeypatch.setattr(owner, attribute, killing)


MOMENTS = [
    ("commit.write_json", 1),
    ("commit._move", 1),
    ("commit._move", 2),
    ("commit.replace_file", 1),
    ("shutil.rmtree", 1),
    ("publish.write_json", 1),
]
OME_MOMENTS = [("commit.replace_file", 2), ("commit.replace_file", 3)]  # of the dataset, of the layer; wkw has none


@pytest.mark.parametrize(
    ("data_format", "name", "number"),
    [*(("zarr3", *moment) for moment in MOMENTS + OME_MOMENTS), *(("wkw", *moment) for moment in MOMENTS)],
)
def test_killed_anywhere_and_started_again_it_ends_as_if_nothing_had_been(
    tmp_path: Path, data_format: str, name: str, number: int
) -> None:
    undisturbed = make_dataset(spec(data_format), tmp_path / "undisturbed")
    downsample(undisturbed)
    dataset = make_dataset(spec(data_format), tmp_path / "dataset")
    run = compute(start(dataset))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, name, number)
        with pytest.raises(Killed):
            publish_all(run)
    assert not run.is_done
    assert mags(dataset) in ([1], [1, 2, 4])
    assert all((dataset / "color" / str(mag)).is_dir() for mag in mags(dataset))
    publish_all(run)
    assert run.is_done
    assert tree(dataset) == tree(undisturbed)


@pytest.fixture(params=[2, 4])
def shard(ready: Run, request: pytest.FixtureRequest) -> Path:
    staged = ready.plan.staging(ready.plan.layers[0]) / str(request.param)
    return next(path for path in (staged / "c").rglob("*") if path.is_file())


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1])


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def empty(shard: Path) -> None:
    shard.write_bytes(b"")


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip, empty])
def test_a_damaged_shard_is_made_once_more(
    dataset: Path, ready: Run, shard: Path, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    undisturbed = make_dataset(spec(), tmp_path / "undisturbed")
    downsample(undisturbed)
    damage(shard)
    publish_all(ready)
    assert tree(dataset) == tree(undisturbed)


@pytest.mark.parametrize("number", [1, 2], ids=["before the JSON has changed", "after that"])
@pytest.mark.parametrize("damage", [Path.unlink, cut, flip, empty])
def test_a_shard_that_is_damaged_after_publishing_was_cut_off_is_made_once_more(
    dataset: Path, ready: Run, shard: Path, damage: Callable[[Path], None], number: int, tmp_path: Path
) -> None:
    undisturbed = make_dataset(spec(), tmp_path / "undisturbed")
    downsample(undisturbed)
    moved = dataset / "color" / shard.relative_to(ready.plan.staging(ready.plan.layers[0]))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "commit.replace_file", number)
        with pytest.raises(Killed):
            publish_all(ready)
    damage(moved)
    publish_all(ready)
    assert tree(dataset) == tree(undisturbed)
    assert not ready.plan.staging(ready.plan.layers[0]).exists()


def test_a_higher_level_verifies_what_was_done_with_a_lower_one(dataset: Path, ready: Run) -> None:
    publish(ready.dir, "l0", Level.FULL)
    assert json.loads(ready.dir.published("l0").read_bytes())["verified"]["levels"] == ["full"]


def test_a_shard_that_stays_damaged_is_not_published(
    dataset: Path, ready: Run, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(shard)
    shard_content, before = shard.read_bytes(), tree(dataset)
    monkeypatch.setattr(publish_module, "do_job", lambda *_: shard.write_bytes(shard_content))
    with pytest.raises(VerificationError, match="also after it was made once more") as caught:
        publish_all(ready)
    assert caught.value.where == str(shard)
    assert tree(dataset) == before
    assert not ready.is_done


def test_mags_with_a_file_that_no_job_wrote_are_not_published(dataset: Path, ready: Run) -> None:
    (ready.plan.staging(ready.plan.layers[0]) / "4" / "unlisted").touch()
    before = tree(dataset)
    with pytest.raises(VerificationError):
        publish_all(ready)
    assert tree(dataset) == before
    assert not ready.is_done


def other_box(content: Any) -> None:
    content["dataLayers"][0]["boundingBox"]["width"] = 71


def other_category(content: Any) -> None:
    content["dataLayers"][0]["category"] = "segmentation"


def other_mag(content: Any) -> None:
    content["dataLayers"][0]["mags"].append({"mag": [4, 4, 4], "path": "./elsewhere", "axisOrder": axes(content)})


def axes(content: Any) -> Any:
    return content["dataLayers"][0]["mags"][0]["axisOrder"]


@pytest.mark.parametrize("change", [other_box, other_category, other_mag])
def test_a_layer_that_was_changed_meanwhile_is_a_conflict(
    dataset: Path, ready: Run, change: Callable[[Any], None]
) -> None:
    edit(dataset, change)
    before = tree(dataset)
    with pytest.raises(ConflictError):
        publish_all(ready)
    assert tree(dataset) == before
    assert not ready.is_done


@pytest.mark.parametrize("listed", [True, False])
def test_a_mag_that_something_else_has_put_there_is_a_conflict(dataset: Path, ready: Run, listed: bool) -> None:
    (dataset / "color" / "4").mkdir()
    (dataset / "color" / "4" / "precious").touch()
    entry = {"mag": [4, 4, 4], "path": "./color/4", "axisOrder": axes(properties(dataset))}
    if listed:
        edit(dataset, lambda content: content["dataLayers"][0]["mags"].append(entry))
    before = tree(dataset)
    with pytest.raises(ConflictError):
        publish_all(ready)
    assert tree(dataset) == before


@pytest.mark.parametrize("occupied", ["file", "full", "link", "broken link"])
def test_a_place_that_is_taken_is_refused_before_work_begins(dataset: Path, tmp_path: Path, occupied: str) -> None:
    place = dataset / "color" / "4"
    if occupied == "file":
        place.touch()
    elif occupied == "full":
        place.mkdir()
        find(dataset)  # an empty directory does no harm
        (place / "0").touch()
    else:
        place.symlink_to(tmp_path if occupied == "link" else "nowhere")
    with pytest.raises(ConflictError, match="something is there already") as caught:
        find(dataset)
    assert caught.value.where == str(place)


def test_a_layer_that_is_gone_is_an_error(dataset: Path, ready: Run) -> None:
    edit(dataset, lambda content: content["dataLayers"].clear())
    before = tree(dataset)
    with pytest.raises(LayerNotFoundError):
        publish_all(ready)
    assert tree(dataset) == before


def test_other_changes_made_meanwhile_are_kept(dataset: Path, ready: Run) -> None:
    edit(dataset, lambda content: content.update(description="new"))
    edit(dataset, lambda content: content["dataLayers"].append({**content["dataLayers"][0], "name": "added"}))
    publish_all(ready)
    assert properties(dataset)["description"] == "new"
    assert [len(layer["mags"]) for layer in properties(dataset)["dataLayers"]] == [3, 1]


def test_unknown_fields_are_kept(dataset: Path, ready: Run) -> None:
    before = properties(dataset)
    publish_all(ready)
    after = properties(dataset)
    del after["dataLayers"][0]["mags"][1:]
    assert after == before
    assert '"brightness": 1.5' in (dataset / "datasource-properties.json").read_text()


def test_an_empty_directory_in_place_does_no_harm(dataset: Path, ready: Run) -> None:
    (dataset / "color" / "2").mkdir()
    publish_all(ready)
    assert (dataset / "color" / "2" / "zarr.json").is_file()


def test_a_linked_json_is_replaced_at_its_target(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "datasource-properties.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to("../elsewhere.json")
    downsample(dataset)
    assert str(path.readlink()) == "../elsewhere.json"
    assert mags(dataset) == [1, 2, 4]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_mode_of_the_json_is_kept(dataset: Path, mode: int) -> None:
    path = dataset / "datasource-properties.json"
    path.chmod(mode)
    downsample(dataset)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_existing_mags_are_not_touched(dataset: Path) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (dataset / "color" / "1").rglob("*")}

    before = state()
    downsample(dataset)
    assert state() == before


def test_layers_are_published_one_by_one(tmp_path: Path) -> None:
    dataset = make_dataset(
        DatasetSpec((LayerSpec("a", size=(9, 9, 9)), LayerSpec("b", size=(9, 9, 9)))), tmp_path / "d"
    )
    run = compute(start(dataset))
    publish(run.dir, "l1")
    assert [len(layer["mags"]) for layer in properties(dataset)["dataLayers"]] == [1, 3]
    assert not run.is_done
    publish(run.dir, "l0")
    assert [len(layer["mags"]) for layer in properties(dataset)["dataLayers"]] == [3, 3]
    assert run.is_done
