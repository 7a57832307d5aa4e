"""A plan, and what a copy came to, as documents."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from metaport import __version__
from metaport.language import Lang, Say
from metaport.migration.copying import Outcome
from metaport.migration.plan import Order, Plan
from metering.document import Cell, Document, Row, Style, Table, table, words

_SOURCE, _TARGET = Say("원본", "Source"), Say("대상", "Target")
_RULES, _VERSION = Say("규칙", "Rules"), Say("프로그램", "Program")
_TABLE, _ROWS = Say("테이블", "Table"), Say("행", "Rows")
_SIZE, _KEY = Say("바이트", "Bytes"), Say("키", "Key")
_LEFT, _MASKED = Say("남겨 둠", "Left behind"), Say("가린 열", "Masked columns")
_WHY, _REFUSED = Say("까닭", "Why"), Say("거부됨", "Refused")
_TOTAL = Say("합계", "Total")


def plan_document(order: Order, plan: Plan, lang: Lang) -> Document:
    """Tell what a copy would do."""
    rows = [
        Row((*words(one.full_name, ", ".join(one.key) or "–"), _figure(one.expected_rows),
             _figure(one.size_bytes)))
        for one in plan.catalogue.tables
    ]  # fmt: skip
    rows.append(
        Row((*words(_TOTAL.to(lang), ""),
             _figure(sum(t.expected_rows for t in plan.catalogue.tables)),
             _figure(sum(t.size_bytes for t in plan.catalogue.tables))), Style.TOTAL)
    )  # fmt: skip
    headings = [say.to(lang) for say in (_TABLE, _KEY, Say("행(어림)", "Rows, about"), _SIZE)]
    return Document(
        lang=lang,
        title=Say("복사 계획", "Plan of a copy").to(lang),
        subtitle=Say("아무것도 쓰지 않았습니다", "nothing was written").to(lang),
        facts=_facts(order, lang),
        front=(
            table(headings, (False, False, True, True), rows),
            *_left_table(plan.left, {name: w.to(lang) for name, w in plan.left_why.items()}, lang),
        ),
        notes=tuple(f"· {warning.to(lang)}" for warning in plan.warnings),
        stamp=datetime.now(UTC),
    )


def copy_document(order: Order, outcome: Outcome, lang: Lang) -> Document:
    """Tell what a copy came to."""
    run = outcome.run
    rows = [
        Row((
            Cell(name),
            _figure(outcome.rows.get(name, 0)),
            _figure(run.left.get(name, 0)),
            _figure(outcome.rejected.get(name, 0)),
            Cell(", ".join(run.masked.get(name, ()))),
        ))
        for name in run.tables
    ]  # fmt: skip
    sums = (outcome.rows, run.left, outcome.rejected)
    rows.append(
        Row((Cell(_TOTAL.to(lang)), *[_figure(sum(one.values())) for one in sums], Cell("")),
            Style.TOTAL)
    )  # fmt: skip
    headings = [say.to(lang) for say in (_TABLE, _ROWS, _LEFT, _REFUSED, _MASKED)]
    notes = [f"· {warning.to(lang)}" for warning in outcome.plan.warnings]
    if len(run.snapshots) > 1:
        notes.append(
            Say(
                f"· {len(run.snapshots) - 1}번 이어서 했습니다: 조각마다 읽은 때가 다르므로, "
                "그사이 원본이 바뀌었는지 verify로 확인하십시오",
                f"· resumed {len(run.snapshots) - 1} times: chunks are of different moments; "
                "verify tells whether the source changed meanwhile",
            ).to(lang)
        )
    verify = Say(
        "· 맞게 복사되었는지는 metaport db verify로 확인하십시오",
        "· whether it is the same is for metaport db verify to say",
    )
    period = f"{run.started_at} – {run.finished_at}"
    return Document(
        lang=lang,
        title=Say("데이터베이스 복사 보고서", "Report of a database copy").to(lang),
        subtitle=run.finished_at[:10],
        facts=(*_facts(order, lang), (Say("기간 (UTC)", "Time (UTC)").to(lang), period)),
        front=(
            table(headings, (False, True, True, True, False), rows),
            *_left_table(
                run.left, {n: why.to(lang) for n, why in outcome.plan.left_why.items()}, lang
            ),
        ),
        notes=(*notes, verify.to(lang)),
        stamp=datetime.fromisoformat(run.finished_at),
    )


def outcome_json(order: Order, outcome: Outcome) -> dict[str, Any]:
    """Tell the same as plain values."""
    run = outcome.run
    return {
        "source": order.source.shown,
        "target": order.target.shown,
        "program": f"metaport {run.version}",
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "snapshots": list(run.snapshots),
        "rules": run.rules.get("name", "none"),
        "tables": [
            {
                "table": name,
                "rows": outcome.rows.get(name, 0),
                "left_behind": run.left.get(name, 0),
                "refused": outcome.rejected.get(name, 0),
                "masked": run.masked.get(name, []),
            }
            for name in run.tables
        ],
    }


def _facts(order: Order, lang: Lang) -> tuple[tuple[str, str], ...]:
    return (
        (_SOURCE.to(lang), f"{order.source.engine} {order.source.shown}"),
        (_TARGET.to(lang), f"{order.target.engine} {order.target.shown}"),
        (_RULES.to(lang), order.rules.name),
        (_VERSION.to(lang), f"metaport {__version__}"),
    )


def _left_table(left: dict[str, int], why: dict[str, str], lang: Lang) -> Sequence[Table]:
    if not left:
        return ()
    rows = [Row((*words(name, why.get(name, "")), _figure(count))) for name, count in left.items()]
    headings = [say.to(lang) for say in (_TABLE, _WHY, _ROWS)]
    title = Say("규칙에 따라 남겨 둔 행", "Left behind by rule").to(lang)
    return (table(headings, (False, False, True), rows, title),)


def _figure(number: int) -> Cell:
    return Cell(f"{number:,}", number)
