"""Records are signed into avatars; what was changed, moved or never signed counts as no consent."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from support.tiny import make_tiny_avatar

from being.avatar.consent import ConsentRecord
from being.avatar.consent_form import about, ask, hash_footage, read_record
from being.avatar.folder import Avatar, amend_avatar, load_avatar, read_manifest, save_avatar
from being.avatar.signing import key_path, own_key, signed_manifest
from being.avatar.trust import consent_trust
from being.errors import FormatError, InputError

RECORD = ConsentRecord(
    status="consented", who="Ada", when=date(2026, 11, 22), scope="demos", grounds="self", statement="I agree."
)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEING_KEY", str(tmp_path / "keys" / "key.pem"))


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    save_avatar(agreed_to(make_tiny_avatar("tiny")), folder, sign=signed_manifest)
    return folder


def agreed_to(avatar: Avatar) -> Avatar:
    return replace(avatar, manifest=avatar.manifest.model_copy(update={"consent": RECORD}))


def edited(folder: Path, **fields: Any) -> Path:
    """The avatar with another record text, as a person with an editor would change it."""
    manifest = json.loads((folder / "avatar.json").read_text())
    manifest["consent"] |= fields
    (folder / "avatar.json").write_text(json.dumps(manifest))
    return folder


def test_a_signed_record_stands(signed: Path) -> None:
    found = consent_trust(load_avatar(signed).manifest)
    assert found.serve and found.text.startswith("Ada, 2026-11-22; signed by ")
    # adding a cheaper form of the network later does not break it
    amend_avatar(signed, approximation="full")
    assert consent_trust(read_manifest(signed)).serve


def test_an_avatar_is_never_on_disk_without_its_signature(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed model needs another signature, and comes into the folder's place with it, in one step."""
    seen: list[bool] = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        if Path(target) == signed:
            seen.append(consent_trust(read_manifest(signed)).serve)

    monkeypatch.setattr(os, "rename", watched)
    other = agreed_to(make_tiny_avatar("tiny", 7))
    save_avatar(other, signed, replace_existing=True, sign=signed_manifest)
    amend_avatar(signed, sign=signed_manifest, name="Ada")
    assert seen == [True, True] and consent_trust(load_avatar(signed).manifest).serve


@pytest.mark.parametrize("fields", [{"who": "Eve"}, {"scope": "anything"}, {"footage_sha256": "0" * 64}])
def test_a_changed_record_counts_as_none(signed: Path, fields: dict[str, str]) -> None:
    found = consent_trust(read_manifest(edited(signed, **fields)))
    assert not found.serve and "its signature is wrong, counts as none" in found.text


def test_a_record_moved_to_another_face_counts_as_none(signed: Path) -> None:
    manifest = read_manifest(signed)
    other = manifest.model_copy(update={"files": manifest.files | {"gaussians.ply": "f" * 64}})
    assert consent_trust(manifest).serve and not consent_trust(other).serve


def test_unsigned_claims_count_as_none_and_nobody_needs_no_signature(signed: Path) -> None:
    manifest = read_manifest(edited(signed, signature=None))
    assert not consent_trust(manifest).serve and "not signed" in consent_trust(manifest).text
    assert consent_trust(make_tiny_avatar().manifest).serve  # synthetic
    nothing = manifest.model_copy(update={"consent": ConsentRecord()})
    assert not consent_trust(nothing).serve and consent_trust(nothing).text == "unconsented"


def test_the_key_is_made_once_and_kept_from_others() -> None:
    first = own_key().public_key()
    assert own_key().public_key() == first
    if os.name == "posix":
        assert key_path().stat().st_mode & 0o077 == 0
        key_path().chmod(0o644)
        with pytest.raises(InputError, match="can be read by others"):
            own_key()
        key_path().chmod(0o600)
    key_path().write_text("no key")
    with pytest.raises(FormatError, match="not a key"):
        own_key()


def test_listing_shows_who_agreed(signed: Path) -> None:
    from being.commands.avatars import command

    shown = CliRunner().invoke(command, ["--json", "--library", str(signed.parent)])
    (row,) = [row for row in json.loads(shown.output) if row.get("id") == signed.name]
    assert row["may_be_served"] and "Ada" in row["consent_trust"]


def test_files_are_read_as_records(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    fields = {"who": "Ada", "when": "2026-11-22", "scope": "demos", "statement": "I agree."}
    path.write_text(json.dumps(fields))
    assert read_record(path).status == "consented"
    path.write_text(json.dumps(fields | {"status": "unconsented"}))
    assert read_record(path).status == "unconsented"
    for text, said in [("{}", "who, when, scope, statement is missing"), ("[1]", "no JSON object"), ("who", "no JSON"),
                       (json.dumps(fields | {"mood": 1}), "mood")]:  # fmt: skip
        path.write_text(text)
        with pytest.raises(FormatError, match=said):
            read_record(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not text"):
        read_record(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "absent.json")


def test_a_record_belongs_to_its_footage(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"one")
    bound = about(RECORD, hash_footage(film))
    assert about(bound, hash_footage(film)) == bound and bound.footage_sha256 == hash_footage(film)
    film.write_bytes(b"two")
    with pytest.raises(InputError, match="about other footage"):
        about(bound, hash_footage(film))
    assert about(ConsentRecord(), "0" * 64) == ConsentRecord()


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("self\nAda\ndemos\nada\n", "consented"),
        ("agreed\nAda\n\nsigned release\nAda\n", "consented"),
        ("synthetic\n", "synthetic"),
        ("none\n", "unconsented"),
    ],
)
def test_questions_at_the_terminal(typed: str, status: str) -> None:
    records: list[ConsentRecord] = []

    @click.command()
    def program() -> None:
        records.append(ask(date(2026, 11, 22)))

    result = CliRunner().invoke(program, input=typed)
    assert result.exit_code == 0, result.output
    assert records[0].status == status
    if status == "consented":
        assert records[0].who == "Ada" and records[0].when == date(2026, 11, 22)


def test_two_different_names_record_nothing() -> None:
    @click.command()
    def program() -> None:
        ask(date(2026, 11, 22))

    result = CliRunner().invoke(program, input="self\nAda\ndemos\nEve\n")
    assert isinstance(result.exception, InputError)
