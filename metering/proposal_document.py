"""The unit price proposal as a document, and as the prices of a price book."""

from datetime import UTC, datetime
from decimal import Decimal

from metering.document import Cell, Chart, Document, Row, Series, Style, Table, table, words
from metering.money import plain
from metering.proposal import Derived, Fixed, Machine, Proposal
from metering.rating.adjustments import Titles

SAID = {
    name: Titles(*titles)
    for name, titles in {
        "title": ("단가 산출서", "Unit price proposal"),
        "subtitle": ("계획 이용자 {users}명", "planned for {users} users"),
        "margin": ("이윤", "Margin"),
        "use": ("가동 기준", "Utilisation"),
        "use_of": (
            "가장 바쁜 시간에 측정 용량의 {use} %까지 쓰고, 그때 하루 사용량의 {busy} %가 몰림",
            "{use} % of a measured capacity in the busiest hour, which has {busy} % of a day",
        ),
        "habit": ("이용자 한 명의 한 달", "One user's month"),
        "habit_of": (
            "메시지 {sent}건(받는 연결 {receivers}개), 음성 {voice}분, 비디오 {video}분",
            "{sent} messages (to {receivers} connections), {voice} min voice, {video} min video",
        ),
        "prices": ("단가 (부가가치세 별도, 원)", "Unit prices (without VAT, KRW)"),
        "unit": ("단위", "Unit"),
        "compute": ("서버", "Compute"),
        "traffic": ("전송량", "Traffic"),
        "fixed": ("고정비 배분", "Fixed share"),
        "margin_won": ("이윤", "Margin"),
        "price": ("제안 단가", "Price"),
        "message": ("보낸 메시지 1,000건", "1,000 messages sent"),
        "delivery": ("전달한 메시지 1,000건", "1,000 messages delivered"),
        "voice_minute": ("음성 1분", "1 minute of voice"),
        "video_minute": ("비디오(HD) 1분", "1 minute of video (HD)"),
        "growth": (
            "이용자가 늘 때의 월 금액 (부가가치세 별도, 원)",
            "A month as users grow (without VAT, KRW)",
        ),
        "users": ("이용자", "Users"),
        "text": ("텍스트", "Text"),
        "voice": ("음성", "Voice"),
        "video": ("비디오", "Video"),
        "amount": ("금액", "Amount"),
        "machines": ("VM", "Machines"),
        "gb": ("전송량(GB)", "Traffic (GB)"),
        "cost": ("원가", "Cost"),
        "chart": ("이용자 수에 따른 월 금액과 원가", "Amount and cost of a month by users"),
        "won": ("원", "KRW"),
        "steps": (
            "서버 비용은 코어 한 개의 월 비용을 팔 수 있는 코어·초로 나눈 뒤 측정 용량으로 나눈 "
            "것이고, 고정비는 계획 이용자 수의 사용량에 서버·전송량 비용의 비율대로 나눈 것입니다. "
            "단가는 메시지 1,000건에 0.1원, 1분에 0.06원(초당 0.001원) 단위로 올림했습니다.",
            "Compute is the month's price of a core divided by the core-seconds that can be sold "
            "and by the measured capacity. Fixed costs are shared over the planned users' use in "
            "proportion to compute and traffic. Prices are rounded up: to 0.1 for 1,000 messages, "
            "to 0.06 for a minute (0.001 for a second).",
        ),
        "below": (
            "계획보다 이용자가 적으면 고정비를 다 거두지 못하므로 금액이 원가보다 작습니다.",
            "With fewer users than planned, fixed costs are not met and the amount is below cost.",
        ),
        "not_an_invoice": (
            "이 산출서는 단가의 근거를 밝힌 제안이며 청구서가 아닙니다.",
            "This is a proposal that shows where prices come from. It is not an invoice.",
        ),
        "inputs": ("근거 수치", "Figures it rests on"),
        "figure": ("항목", "Figure"),
        "value": ("값", "Value"),
        "source": ("근거", "Source"),
        "as_of": ("기준일", "As of"),
        "per_month": ("원/월", "KRW a month"),
        "traffic_won_per_gb": ("전송량 1 GB", "1 GB of traffic"),
        "messages_per_core": ("코어당 메시지/초", "Messages a second and core"),
        "deliveries_per_core": ("코어당 전달/초", "Deliveries a second and core"),
        "voice_per_core": ("코어당 음성 참여자", "Voice participants a core"),
        "video_per_core": ("코어당 비디오 참여자", "Video participants a core"),
        "voice_kbps": ("음성 kbit/s", "Voice, kbit/s"),
        "video_kbps": ("비디오 kbit/s", "Video, kbit/s"),
    }.items()
}

# Video classes keep the proportions the market is used to, HD being 4 of voice's 1.
BOOK_VIDEO = (("sd", 1, 2), ("hd", 1, 1), ("fhd", 9, 4), ("2k", 4, 1), ("2k_plus", 9, 1))


def proposal_document(proposal: Proposal, lang: str) -> Document:
    """Put a proposal into the words of `lang`."""
    said = {name: titles.in_(lang) for name, titles in SAID.items()}
    inputs, habits = proposal.inputs, proposal.inputs.habits
    return Document(
        lang=lang,
        title=said["title"],
        subtitle=said["subtitle"].format(users=f"{inputs.planned_users:,}"),
        facts=(
            (said["margin"], f"{plain(inputs.margin_percent)} %"),
            (
                said["use"],
                said["use_of"].format(
                    use=plain(inputs.utilisation_percent), busy=plain(inputs.busy_hour_percent)
                ),
            ),
            (
                said["habit"],
                said["habit_of"].format(
                    sent=habits.messages_sent,
                    receivers=habits.receivers,
                    voice=habits.voice_minutes,
                    video=habits.video_minutes,
                ),
            ),
        ),
        front=(_prices(proposal, said), _growth(proposal, said)),
        notes=(said["steps"], said["below"], said["not_an_invoice"]),
        # A proposal has no moment of its own; the newest of its sources would be a guess.
        stamp=datetime(2000, 1, 1, tzinfo=UTC),
        details=(_chart(proposal, said), _inputs(proposal, said, lang)),
    )


def proposal_book(proposal: Proposal) -> str:
    """Write the derived prices as lines of a price book's [version.price]."""
    lines = []
    for unit, meter in (
        ("message", "chat.messages_sent"),
        ("delivery", "chat.messages_delivered"),
        ("voice_minute", "voice.participant_seconds"),
    ):
        derived = proposal.price_of(unit)
        per = "minute" if unit.endswith("minute") else f"{derived.per} messages"
        lines.append(f'"{meter}" = {{ price = {plain(derived.price)}, per = "{per}" }}')
    hd = proposal.price_of("video_minute").price
    for name, times, of in BOOK_VIDEO:
        price = plain(_to_step(hd * times / of))
        meter = f"video.participant_seconds.{name}"
        lines.append(f'"{meter}" = {{ price = {price}, per = "minute" }}')
    return "\n".join(lines) + "\n"


def _to_step(price: Decimal) -> Decimal:
    step = Decimal("0.06")
    return -(-price // step) * step


def _prices(proposal: Proposal, said: dict[str, str]) -> Table:
    rows = [_derived(derived, said) for derived in proposal.prices]
    headings = ("unit", "compute", "traffic", "fixed", "margin_won", "price")
    numbers = (False, True, True, True, True, True)
    return table([said[name] for name in headings], numbers, rows, said["prices"])


def _derived(derived: Derived, said: dict[str, str]) -> Row:
    per = Decimal(derived.per)
    steps = (derived.compute, derived.traffic, derived.fixed, derived.margin)
    return Row(
        (
            Cell(said[derived.unit]),
            *(_about(step * per) for step in steps),
            Cell(plain(derived.price), derived.price),
        )
    )


def _about(amount: Decimal) -> Cell:
    shown = amount.quantize(Decimal("0.0001"))
    return Cell(f"{shown:,f}", shown)


def _growth(proposal: Proposal, said: dict[str, str]) -> Table:
    rows = [
        Row(
            tuple(
                Cell(f"{value:,}", value)
                for value in (
                    month.users, month.text, month.voice, month.video, month.amount,
                    month.machines, month.traffic_gb, month.cost,
                )
            )
        )
        for month in proposal.growth
    ]  # fmt: skip
    headings = ("users", "text", "voice", "video", "amount", "machines", "gb", "cost")
    return table([said[name] for name in headings], (True,) * 8, rows, said["growth"])


def _chart(proposal: Proposal, said: dict[str, str]) -> Chart:
    months = proposal.growth
    series = (
        Series(said["amount"], tuple(month.amount for month in months)),
        Series(said["cost"], tuple(month.cost for month in months), 1),
    )
    labels = tuple(f"{month.users:,}" for month in months)
    return Chart(said["chart"], labels, series, said["won"], lines=True, log=True)


def _inputs(proposal: Proposal, said: dict[str, str], lang: str) -> Table:
    inputs = proposal.inputs
    monthly: tuple[Fixed | Machine, ...] = (inputs.machine, *inputs.fixed)
    rows = [
        Row(
            (
                Cell(f"{Titles(entry.title_ko, entry.title_en).in_(lang)} ({said['per_month']})"),
                Cell(f"{entry.won_per_month:,}", entry.won_per_month),
                *words(entry.source, entry.as_of),
            )
        )
        for entry in monthly
    ]
    rows += [
        Row(
            (
                Cell(said[name]), Cell(f"{dated.value:,}", dated.value),
                *words(dated.source, dated.as_of),
            ),
            Style.LINE,
        )
        for name, dated in inputs.dated().items()
    ]  # fmt: skip
    headings = [said[name] for name in ("figure", "value", "source", "as_of")]
    return table(headings, (False, True, False, False), rows, said["inputs"])
