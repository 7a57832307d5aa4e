"""A comparison as a document: verdict first, then table by table, then what differs."""

from datetime import datetime

from metaport.language import Lang, Say
from metaport.migration.differences import TableResult, Verification
from metering.document import Cell, Document, Row, Style, Table, table, words

_PASS, _FAIL = "PASS", "FAIL"
_WHAT = {
    "missing": Say("대상에 없음", "missing in the target"),
    "extra": Say("대상에만 있음", "only in the target"),
    "changed": Say("다름", "changed"),
}
_HOW = {
    "checksum": Say("구간 체크섬", "segment checksums"),
    "rows": Say("행마다", "row by row"),
    "sums": Say("행의 모음", "bag of rows"),
}


def verify_document(found: Verification, lang: Lang) -> Document:
    """Put a comparison on paper, with the digest of its values and room for signatures."""

    def say(ko: str, en: str) -> str:
        return Say(ko, en).to(lang)

    digest = found.as_json()["digest"]
    verdict = _PASS if found.passed else _FAIL
    failed = sum(not one.passed for one in found.tables)
    return Document(
        lang=lang,
        title=say("데이터베이스 검증 보고서", "Database verification report"),
        subtitle=verdict,
        facts=(
            (say("판정", "Verdict"), verdict),
            (say("원본", "Source"), found.source),
            (say("대상", "Target"), found.target),
            (say("규칙", "Rules"), found.rules),
            (
                say("기간 (UTC)", "Time (UTC)"),
                f"{found.began_at} – {found.ended_at} ({found.seconds:.1f} s)",
            ),
            (say("프로그램", "Program"), f"metaport {found.version}"),
            (say("내용의 SHA-256", "SHA-256 of its values"), digest),
        ),
        front=(
            _summary(found, failed, lang),
            _tables(found, lang),
            *_signatures(lang),
        ),
        notes=_notes(found, lang),
        stamp=datetime.fromisoformat(found.ended_at),
        details=tuple(_details(found, lang)),
    )


def _summary(found: Verification, failed: int, lang: Lang) -> Table:
    orphans = sum(sum(one.orphans.values()) for one in found.tables)
    wrong = sum(not one.passed for one in found.sequences)
    checks = (
        (Say("스키마 차이", "Differences of schema"), len(found.schema)),
        (Say("맞지 않는 테이블", "Tables that differ"), failed),
        (Say("다른 행", "Rows that differ"), sum(one.differing for one in found.tables)),
        (Say("없는 행을 가리키는 행", "Rows that refer to nothing"), orphans),
        (Say("어긋난 시퀀스", "Counters that are behind"), wrong),
    )
    rows = [
        Row((Cell(what.to(lang)), _figure(count), Cell(_FAIL if count else _PASS)))
        for what, count in checks
    ]
    headings = [
        say.to(lang) for say in (Say("검사", "Check"), Say("건수", "Count"), Say("판정", "Verdict"))
    ]
    return table(headings, (False, True, False), rows)


def _tables(found: Verification, lang: Lang) -> Table:
    rows = [
        Row((
            Cell(one.table),
            _figure(one.source.rows),
            _figure(one.left),
            _figure(one.target.rows),
            _figure(one.differing),
            Cell(f"{one.seconds:.2f}"),
            Cell(_PASS if one.passed else _FAIL),
        ))
        for one in found.tables
    ]  # fmt: skip
    sums = (
        sum(one.source.rows for one in found.tables),
        sum(one.left for one in found.tables),
        sum(one.target.rows for one in found.tables),
        sum(one.differing for one in found.tables),
    )
    seconds = f"{sum(one.seconds for one in found.tables):.2f}"
    rows.append(
        Row((Cell(Say("합계", "Total").to(lang)), *map(_figure, sums), Cell(seconds),
             Cell(_PASS if all(one.passed for one in found.tables) else _FAIL)), Style.SUM)
    )  # fmt: skip
    headings = [
        say.to(lang)
        for say in (
            Say("테이블", "Table"), Say("원본 행", "Source"), Say("남겨 둠", "Left behind"),
            Say("대상 행", "Target"), Say("다른 행", "Differ"), Say("초", "s"),
            Say("판정", "Verdict"),
        )
    ]  # fmt: skip
    title = Say("테이블별 결과", "Table by table").to(lang)
    return table(headings, (False, True, True, True, True, True, False), rows, title)


def _signatures(lang: Lang) -> tuple[Table, ...]:
    who = (
        Say("작업자", "Carried out by"), Say("확인자", "Checked by"), Say("감독관", "Supervisor"),
    )  # fmt: skip
    rows = [Row(words(one.to(lang), "", "", "")) for one in who]
    headings = [
        say.to(lang)
        for say in (Say("구분", "Role"), Say("성명", "Name"), Say("서명", "Signature"),
                    Say("일자", "Date"))
    ]  # fmt: skip
    return (table(headings, (False,) * 4, rows, Say("서명", "Signatures").to(lang)),)


def _notes(found: Verification, lang: Lang) -> tuple[str, ...]:
    notes = [
        Say(
            "· 같은 값: 유니코드 NFC, 수의 소수 자릿수, 시간대, "
            "JSON 키의 순서는 차이로 보지 않습니다.",
            "· Equal: Unicode NFC, scale of numbers, time zone and order of JSON keys make no "
            "difference.",
        ),
        Say(
            "· 다른 행은 키와 열의 이름만 적습니다. 값에는 개인정보가 있을 수 있습니다.",
            "· Of rows that differ, key and columns are told; values may be personal.",
        ),
    ]
    left = sum(one.left for one in found.tables)
    if left:
        notes.append(
            Say(
                f"· 규칙에 따라 남겨 둔 {left:,}행은 없는 것으로 세지 않았습니다.",
                f"· {left:,} rows left behind by rule are not counted as missing.",
            )
        )
    for one in found.tables:
        if one.not_compared:
            names = ", ".join(one.not_compared)
            notes.append(
                Say(
                    f"· {one.table}: 가린 열은 가명 키가 없어 비교하지 않았습니다: {names}",
                    f"· {one.table}: masked, not compared without the key of pseudonyms: {names}",
                )
            )
        elif one.masked:
            notes.append(
                Say(
                    f"· {one.table}: 가명으로 비교했습니다: {', '.join(one.masked)}",
                    f"· {one.table}: compared as pseudonyms: {', '.join(one.masked)}",
                )
            )
    return tuple(note.to(lang) for note in notes)


def _details(found: Verification, lang: Lang) -> list[Table]:
    parts = []
    if found.schema:
        rows = [Row(words(line[:1], line[2:])) for line in found.schema]
        headings = [Say("어디에", "Where").to(lang), Say("차이", "Difference").to(lang)]
        note = Say("- 원본에만, + 대상에만, ± 서로 다름", "- source only, + target only, ± differs")
        parts.append(
            table(headings, (False, False), rows,
                  Say("스키마 차이", "Differences of schema").to(lang), note.to(lang))
        )  # fmt: skip
    parts += [_differing(one, lang) for one in found.tables if one.told or one.orphans]
    if found.sequences:
        parts.append(_sequences(found, lang))
    parts += [_columns(one, lang) for one in found.tables if one.columns]
    return parts


def _differing(one: TableResult, lang: Lang) -> Table:
    rows = [
        Row(words(_WHAT[each.what].to(lang), ", ".join(each.key), ", ".join(each.columns)))
        for each in one.told
    ]
    nothing = Say("없는 행을 가리킴", "refers to nothing").to(lang)
    rows += [Row(words(nothing, f"{count:,}", name)) for name, count in one.orphans.items()]
    headings = [
        Say("무엇이", "What").to(lang), Say("키", "Key").to(lang), Say("열", "Columns").to(lang)
    ]  # fmt: skip
    more = one.differing - len(one.told)
    note = Say(f"외 {more:,}행", f"and {more:,} more").to(lang) if more else ""
    return table(headings, (False, False, False), rows, one.table, note)


def _sequences(found: Verification, lang: Lang) -> Table:
    rows = [
        Row((
            Cell(one.name), _optional(one.source), _optional(one.target), _optional(one.greatest),
            Cell(_PASS if one.passed else _FAIL),
        ))
        for one in found.sequences
    ]  # fmt: skip
    headings = [
        say.to(lang)
        for say in (Say("시퀀스", "Counter"), Say("원본", "Source"), Say("대상", "Target"),
                    Say("가장 큰 값", "Greatest value"), Say("판정", "Verdict"))
    ]  # fmt: skip
    title = Say("시퀀스", "Counters").to(lang)
    return table(headings, (False, True, True, True, False), rows, title)


def _columns(one: TableResult, lang: Lang) -> Table:
    rows = []
    for place, name in enumerate(one.columns):
        values = [side.values[place] if side.values else 0 for side in (one.source, one.target)]
        totals = [side.totals[place] if side.totals else None for side in (one.source, one.target)]
        rows.append(
            Row((
                Cell(name), *map(_figure, values),
                *[Cell("–" if total is None else f"{total:,}") for total in totals],
            ))
        )  # fmt: skip
    headings = [
        say.to(lang)
        for say in (
            Say("열", "Column"), Say("원본 값의 수", "Values, source"),
            Say("대상 값의 수", "Values, target"), Say("원본 합", "Sum, source"),
            Say("대상 합", "Sum, target"),
        )
    ]  # fmt: skip
    note = (
        f"{_HOW[one.how].to(lang)}; {one.source.checksum:016x} / {one.target.checksum:016x}; "
        f"{one.began_at}, {one.seconds:.2f} s"
    )
    return table(headings, (False, True, True, True, True), rows, one.table, note)


def _optional(number: int | None) -> Cell:
    return Cell("–") if number is None else _figure(number)


def _figure(number: int) -> Cell:
    return Cell(f"{number:,}", number)
