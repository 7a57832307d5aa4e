"""`metaport usage …` at a terminal: what is printed, written, and refused."""

import json
from pathlib import Path

import pytest

from metaport import cli


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def database(data_dir, capsys):
    data_dir.mkdir()
    assert cli.main(["db", "upgrade"]) == 0
    capsys.readouterr()


def test_where_nothing_was_counted_there_is_nothing_to_print(capsys):
    assert cli.main(["usage", "report", "--month", "2026-11", "--lang", "ko"]) == 1
    assert "아직 사용량 기록이 없습니다" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("form", "start"), [("pdf", b"%PDF-"), ("xlsx", b"PK"), ("html", b"<!doctype"), ("text", b"")]
)
def test_a_report_is_written_to_the_file_it_is_asked_for(tmp_path, form, start):
    path = tmp_path / f"report.{form}"
    asked = ["usage", "report", "--month", "2026-11", "--format", form, "--output", str(path)]
    assert cli.main(asked) == 0
    assert path.read_bytes().startswith(start)
    assert len(path.read_bytes()) > 1_000


@pytest.mark.usefixtures("database")
def test_a_file_that_cannot_be_written_is_told(capsys):
    asked = ["usage", "report", "--month", "2026-11", "--output", "/no/such/folder/r.txt"]
    assert cli.main(asked) == 1
    assert "/no/such/folder/r.txt: No such file" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_a_budget_needs_a_contract(capsys):
    assert cli.main(["usage", "budget", "--lang", "en"]) == 1
    assert "no contract is configured (usage.contract)" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_the_example_contract_is_one_that_a_budget_is_made_of(tmp_path, monkeypatch, capsys):
    assert cli.main(["usage", "budget", "--example"]) == 0
    Path("contract.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    monkeypatch.setenv("METAPORT_USAGE_CONTRACT", str(tmp_path / "contract.toml"))
    assert cli.main(["usage", "budget", "--format", "json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["amount"], tree["supply"], tree["vat"]) == ("12650000", "11500000", "1150000")
    assert cli.main(["usage", "budget", "--lang", "ko"]) == 0
    said = capsys.readouterr().out
    assert "12,650,000원 = 공급가액 11,500,000원 + 부가가치세 1,150,000원" in said
    assert "청구서가 아닙니다" in said


@pytest.mark.usefixtures("database")
def test_a_broken_contract_is_told_with_its_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "contract.toml"
    path.write_text("amount = -\n")
    monkeypatch.setenv("METAPORT_USAGE_CONTRACT", str(path))
    assert cli.main(["usage", "budget"]) == 2
    assert f"{path}, line 1: " in capsys.readouterr().err


def test_a_proposal_needs_no_database(capsys):
    assert cli.main(["usage", "proposal", "--lang", "ko"]) == 0
    assert capsys.readouterr().out.startswith("단가 산출서")
    assert cli.main(["usage", "proposal", "--format", "book"]) == 0
    assert '"chat.messages_sent" = { price = ' in capsys.readouterr().out
    assert cli.main(["usage", "proposal", "--example"]) == 0
    Path("inputs.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert cli.main(["usage", "proposal", "--inputs", "inputs.toml", "--lang", "en"]) == 0
    assert capsys.readouterr().out.startswith("Unit price proposal")
    assert cli.main(["usage", "proposal", "--inputs", "absent.toml"]) == 2
    assert "absent.toml: No such file" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_a_comparison_takes_the_rate_that_is_entered(capsys):
    asked = ["usage", "compare", "--month", "2026-11", "--lang", "en"]
    assert cli.main([*asked, "--rate", "USD=1400@2026-11-01"]) == 0
    assert "1 USD = KRW 1400 (2026-11-01, entered)" in capsys.readouterr().out
    assert cli.main([*asked, "--rate", "USD=cheap"]) == 2
    assert "--rate: 'USD=cheap' is to be like" in capsys.readouterr().err
    assert cli.main([*asked, "--rate", "USD=1400@2026-11-31"]) == 2
