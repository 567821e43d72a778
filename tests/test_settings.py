"""Profiles, policies and their errors: files say what the code does, and a bad file is refused by name."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError
from schemas.settings import DEPLOY, Catalogue, Deployment, Policy, Profile, ScopeSettings, Settings, load_settings, read_yaml

PROFILES = DEPLOY / "profiles"
DEFAULT = PROFILES / "default.yaml"
PAPER = PROFILES / "paper.yaml"
POLICY = DEPLOY / "policies" / "default.yaml"
CATALOGUE = "actions: [{name: look, symptoms: ['*'], blast_radius: 0, reversible: true}]"


def test_default_profile_is_the_codes() -> None:
    """The default file says exactly what the code would do without it."""
    assert read_yaml(DEFAULT, Profile) == Profile(name="default")


def test_paper_profile_is_the_papers() -> None:
    """Paper: mean (n0 4, m0 .5), thompson, lambda pull .3, no budget, trust or class means; the rest is as in the default."""
    papers = {
        "name": "paper",
        "score": "mean",
        "selector": "thompson",
        "silence": "pull",
        "trust": False,
        "budget": "off",
        "monitor": "threshold",
        "class_means": False,
    }
    paper = read_yaml(PAPER, Profile)
    assert paper == msgspec.structs.replace(Profile(name="default"), **papers)
    assert (paper.prior_weight, paper.prior_mean, paper.silence_target) == (4.0, 0.5, 0.3)


def test_costs_imply_the_threshold() -> None:
    """The threshold is k/(k + m), .8 by default, unless the profile fixes one for the selector `fixed`."""
    profile = read_yaml(DEFAULT, Profile)
    assert profile.threshold == 0.8
    assert msgspec.structs.replace(profile, override_cost=1.0).threshold == 0.5
    for selector, threshold in (("fixed", 0.6), ("posterior", 0.8), ("thompson", 0.8)):
        assert msgspec.structs.replace(profile, selector=selector, fixed_threshold=0.6).threshold == threshold


@pytest.mark.parametrize("path", [DEFAULT, PAPER], ids=lambda path: path.stem)
def test_every_field_is_there_and_explained(path: Path) -> None:
    """A profile file leaves no field to be guessed, and each block of fields has its comment."""
    text = path.read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)) == list(Profile.__struct_fields__)
    blocks = [block for block in text.split("\n\n") if not all(line.startswith("#") for line in block.splitlines())]
    assert all(block.startswith("#") for block in blocks)
    if path == DEFAULT:
        lines = text.splitlines()
        assert all(lines[index - 1].startswith("#") for index, line in enumerate(lines) if line[0:1].isalpha())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name: x\nsilence_target: 0.5", "silence_target"),
        ("name: x\nsilence: off", "silence"),
        ("name: x\nbudget: off", "budget"),  # YAML takes a bare off for false
        ("name: x\nprior_weight: -1", "prior_weight"),
        ("name: x\nanswer_deadline_ms: 4h", "answer_deadline_ms"),
        ("name: x\noverride_costs: 4", "override_costs"),
        ("score: mean", "name"),
        ("", "null"),
        ("- name: x", "array"),
        ("name: [x", "line 1"),
        ("name: 2020-99-99", "month"),
        ("name: !!bool x", "profile"),
        ("name: !!timestamp x", "profile"),
    ],
)
def test_bad_profile_names_file_and_field(tmp_path: Path, text: str, names: str) -> None:
    """A profile that cannot be used gives an error with the file and what is wrong in it."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=names) as caught:
        read_yaml(path, Profile)
    assert str(path) in str(caught.value)


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="name: x-[]{}&*!|>'\"%@#\n\t?,0123456789.:T", max_size=60).map(str.encode)))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, it is a profile or a SettingsError that names the file."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        profile = read_yaml(path, Profile)
    except SettingsError as error:
        assert str(path) in str(error)  # noqa: PT017 - either way is right
    else:
        assert isinstance(profile, Profile)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_unreadable_file_is_named(tmp_path: Path, name: str) -> None:
    """A file that is not there, or a directory, gives an error with its path."""
    with pytest.raises(SettingsError, match=str(tmp_path)):
        read_yaml(tmp_path / name, Profile)


def test_rule_without_a_condition_is_refused(tmp_path: Path) -> None:
    """A rule that lacks its condition, or has one that the policy does not know, is refused by its place in the file."""
    path = tmp_path / "policy.yaml"
    for rule in ("{name: a}", "{name: a, deny_if: 'true', allow_if: 'true'}", "{name: a, deny_if: true}"):
        path.write_text(f"version: '1'\nrules: [{rule}]", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"rules\[0\]"):
            read_yaml(path, Policy)


def test_deployment_reads_all_its_files(tmp_path: Path) -> None:
    """A deployment's settings are those of its four files, and a scope that none names learns."""
    catalogue, scopes = tmp_path / "catalogue.yaml", tmp_path / "scopes.yaml"
    catalogue.write_text(CATALOGUE, encoding="utf-8")
    scopes.write_text("frozen: {learning: false}", encoding="utf-8")
    settings = load_settings(Deployment(profile=PAPER, policy=POLICY, catalogue=catalogue, scopes=scopes, seed=3))
    assert settings == Settings(
        profile=read_yaml(PAPER, Profile),
        policy=read_yaml(POLICY, Policy),
        catalogue=read_yaml(catalogue, Catalogue),
        scopes={"frozen": ScopeSettings(learning=False)},
        seed=3,
    )
    assert (settings.learns("frozen"), settings.learns("other")) == (False, True)
    with pytest.raises(SettingsError, match="bad"):
        load_settings(Deployment(profile=PAPER, policy=tmp_path / "bad.yaml", catalogue=catalogue))


def test_digest_tells_settings_apart() -> None:
    """Equal settings have equal digests whatever the order of names; a change of any part changes the digest."""
    catalogue = msgspec.convert(yaml.safe_load(CATALOGUE), Catalogue)
    parts: dict[str, Any] = {"profile": Profile(name="p"), "policy": Policy("1", ()), "catalogue": catalogue, "scopes": {}, "seed": 0}
    names = {"a": "x", "b": "y"}
    changes: dict[str, Any] = {
        "profile": Profile(name="p", miss_cost=2.0),
        "policy": Policy("2", ()),
        "catalogue": msgspec.structs.replace(catalogue, entities=names),
        "scopes": {"a": ScopeSettings(learning=False)},
        "seed": 1,
    }
    digests = [Settings(**parts).digest] + [Settings(**(parts | {part: value})).digest for part, value in changes.items()]
    assert len(set(digests)) == len(digests)
    reordered = msgspec.structs.replace(catalogue, entities=dict(reversed(names.items())))
    assert Settings(**(parts | {"catalogue": reordered})).digest == digests[3]
    assert Settings(**parts).digest == digests[0]
