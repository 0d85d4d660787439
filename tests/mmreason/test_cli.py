"""Configuration and the command line: mistakes are one line that names the key, and an exit status that is not 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmreason.cli import COMMANDS, main, read_config
from mmreason.records import STAGES

ROOT = Path(__file__).parents[2]


def _fails(arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    message = str(stop.value.code)
    assert stop.value.code not in (0, None) and "\n" not in message
    return message


def test_yaml_then_dotted_overrides(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("align:\n  steps: 7\nreason:\n  prompt:\n    facts: 1\n")
    config = read_config(path, run_dir="elsewhere")
    assert config.align.steps == 7 and config.reason.prompt.facts == 1 and config.run_dir == "elsewhere"
    assert config.align.dim == 256


@pytest.mark.parametrize("name", [p.name for p in (ROOT / "configs").glob("*.yaml")])
def test_every_shipped_configuration_is_valid(name: str) -> None:
    read_config(ROOT / "configs" / name)


def test_unknown_key_and_wrong_type_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("align:\n  stepz: 7\n")
    assert "stepz" in _fails(["run", "--config", str(path)])
    path.write_text("align:\n  steps: many\n")
    assert "align.steps" in _fails(["run", "--config", str(path)])
    assert "reason.inputs" in _fails(["train", "--reason.inputs", "pictures"])
    assert "nowhere.yaml" in _fails(["run", "--config", "nowhere.yaml"])


def test_the_configuration_may_stand_after_the_verb(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("align:\n  stepz: 7\n")
    assert "stepz" in _fails(["run", str(path)])
    assert "nowhere.yaml" in _fails(["embed", "nowhere.yaml"])


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    arguments = ["ingest", "--run_dir", str(tmp_path), "--catalogue.source", "tables"]
    assert "no-such-folder" in _fails([*arguments, "--catalogue.root", "no-such-folder"])
    message = _fails(["ingest", "--run_dir", str(tmp_path), "--catalogue.source", "bazaar"])
    assert "bazaar" in message and "magento" in message


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from mmreason import DataError

    with pytest.raises(DataError):
        main(["pack", "--run_dir", str(tmp_path), "--debug"])


def test_an_unknown_encoder_is_named(tmp_path: Path) -> None:
    from mmreason import DataError
    from mmreason.config import AlignConfig
    from mmreason.embed.embedder import create_encoders

    with pytest.raises(DataError, match="timm:no_such_net"):
        create_encoders(AlignConfig(image="timm:no_such_net", image_weights=""))


@pytest.mark.parametrize("verb", ["export-embeddings", "export-reasons"])
def test_a_target_needs_no_name(verb: str, tmp_path: Path) -> None:
    assert "unrecognized" not in _fails([verb, str(tmp_path / "x.parquet"), "--run_dir", str(tmp_path)])


def test_there_is_a_tool_for_every_verb() -> None:
    verbs = {p.read_text().split('main(["')[1].split('"')[0] for p in (ROOT / "tools").glob("*.py")}
    assert verbs == {"run", "reasons", *(stage.name for stage in STAGES), *COMMANDS}


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_of_a_verb_names_its_arguments_and_nothing_internal(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    told = capsys.readouterr().out
    assert stop.value.code == 0 and any(f"  --{name}" in told for name in ("run_dir", "reasons", "folder"))
    assert "<function" not in told and " at 0x" not in told
