"""The words of a statement in Korean and English."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from metering.meters import METERS, Service
from metering.rating.adjustments import Adjustment, Kind
from metering.units import Unit

LANGUAGES = ("ko", "en")


@dataclass(frozen=True, slots=True)
class Words:
    """Everything a statement says in one language."""

    lang: str
    title: str
    month: str
    period: str
    until: str
    as_of: str
    nobody_reported: str
    state: str
    complete: str
    provisional: str
    meter: str
    quantity: str
    unit: str
    unit_price: str
    amount: str
    subtotal: str
    vat: str
    total: str
    since: str
    tier: str
    not_an_invoice: str
    rounding: str
    definitions: str
    price: str
    measured: str
    adjustments: str
    by_day: str
    by_room: str
    by_app: str
    by: Mapping[str, tuple[str, str]]
    day: str
    room: str
    app: str
    no_room: str
    nothing: str
    others: str
    apart: str
    shares: str
    cost_by_day: str
    minutes_by_day: str
    minutes: str
    kinds: MappingProxyType[Kind, str]
    times: MappingProxyType[str, str]
    services: MappingProxyType[Service, str]
    units: MappingProxyType[Unit, str]
    per: MappingProxyType[str, str]


KOREAN = Words(
    lang="ko",
    title="사용량 및 금액 명세서",
    month="{year}년 {month}월",
    period="대상 기간",
    until="{start} ~ {end} (끝 시각 제외, {zone})",
    as_of="집계 기준",
    nobody_reported="측정 없음",
    state="상태",
    complete="집계 완료",
    provisional="잠정: 이 달의 집계가 아직 끝나지 않음",
    meter="항목",
    quantity="수량",
    unit="단위",
    unit_price="단가({currency})",
    amount="금액({currency})",
    subtotal="공급가액",
    vat="부가가치세 {percent} %",
    total="합계",
    since="{day}부터",
    tier="{number}구간",
    not_an_invoice="이 명세서는 사용량을 단가로 환산한 것이며 청구서가 아닙니다.",
    rounding=(
        "금액은 줄마다 수량 × 단가를 {coin}까지 반올림한 것이고, 공급가액은 그 금액들의 합입니다. "
        "부가가치세는 공급가액에서 한 번만 반올림하며, 공급가액 + 부가가치세 = 합계입니다."
    ),
    definitions="항목의 뜻과 단가",
    price="{price}{currency} / {per}",
    measured="측정 {quantity}",
    adjustments="조정",
    by_day="일자별 금액",
    by_room="방별 금액",
    by_app="앱별 금액",
    by={
        "app": ("앱별 사용량과 금액", "앱"),
        "space": ("공간별 사용량과 금액", "공간"),
        "room": ("방별 사용량과 금액", "방"),
        "node": ("서버별 사용량과 금액", "서버"),
        "user": ("사용자별 사용량과 금액", "사용자"),
    },
    day="일자",
    room="방",
    app="앱",
    no_room="(방 없음)",
    nothing="(없음)",
    others="그 밖의 방 {count}개",
    apart="정액·할인·약정·절사",
    shares=(
        "구간, 최소 금액, 반올림은 한 달 전체에 걸리므로, 항목마다 금액을 수량에 비례하여 1원 "
        "단위로 나누어 적은 것입니다. 나눈 금액의 합은 명세서의 금액과 같습니다."
    ),
    cost_by_day="일자별 금액(공급가액)",
    minutes_by_day="일자별 참여 시간",
    minutes="분",
    kinds=MappingProxyType(
        {
            Kind.TIER_FEE: "구간 요금: {subject}",
            Kind.FEE: "정액 요금: {subject}",
            Kind.MINIMUM: "최소 금액 차액: {subject}",
            Kind.DISCOUNT: "할인: {subject}",
            Kind.CORRECTION: "정정: {subject}",
            Kind.COMMITMENT: "약정 금액 차액",
            Kind.TRUNCATION: "끝수 절사",
        }
    ),
    times=MappingProxyType({"day": "일", "month": "월", "item": "건"}),
    services=MappingProxyType(
        {
            Service.TEXT: "텍스트 채팅",
            Service.VOICE: "음성 채팅",
            Service.VIDEO: "비디오 채팅",
            Service.TRAFFIC: "미디어 전송량",
        }
    ),
    units=MappingProxyType(
        {Unit.MESSAGE: "건", Unit.SECOND: "초", Unit.BYTE: "GB", Unit.USER: "명"}
    ),
    per=MappingProxyType(
        {"message": "건", "second": "초", "minute": "분", "hour": "시간", "byte": "바이트"}
    ),
)

ENGLISH = Words(
    lang="en",
    title="Statement of usage and cost",
    month="{year}-{month:02}",
    period="Period",
    until="{start} to {end} (end excluded, {zone})",
    as_of="Figures as of",
    nobody_reported="not measured",
    state="State",
    complete="complete",
    provisional="provisional: the count of this month is not finished",
    meter="Meter",
    quantity="Quantity",
    unit="Unit",
    unit_price="Price ({currency})",
    amount="Amount ({currency})",
    subtotal="Subtotal",
    vat="VAT {percent} %",
    total="Total",
    since="from {day}",
    tier="tier {number}",
    not_an_invoice="This statement values usage at unit prices. It is not an invoice.",
    rounding=(
        "Each amount is quantity × unit price, rounded half up to {coin}; the subtotal is the sum "
        "of those amounts. VAT is rounded once, on the subtotal; subtotal + VAT = total."
    ),
    definitions="What the meters mean and cost",
    price="{currency} {price} / {per}",
    measured="measured {quantity}",
    adjustments="Adjustments",
    by_day="Amounts by day",
    by_room="Amounts by room",
    by_app="Amounts by app",
    by={
        "app": ("Usage and amounts by app", "App"),
        "space": ("Usage and amounts by space", "Space"),
        "room": ("Usage and amounts by room", "Room"),
        "node": ("Usage and amounts by node", "Node"),
        "user": ("Usage and amounts by user", "User"),
    },
    day="Day",
    room="Room",
    app="App",
    no_room="(no room)",
    nothing="(none)",
    others="{count} other rooms",
    apart="Fees, discounts, commitment, cut",
    shares=(
        "Tiers, minimums and rounding belong to the whole month, so what each meter costs is "
        "shared in proportion to its quantities, in whole coins. The shares add up to the "
        "statement."
    ),
    cost_by_day="Amount by day, before VAT",
    minutes_by_day="Participation by day",
    minutes="minutes",
    kinds=MappingProxyType(
        {
            Kind.TIER_FEE: "Fee of a tier: {subject}",
            Kind.FEE: "Fixed fee: {subject}",
            Kind.MINIMUM: "Up to the minimum: {subject}",
            Kind.DISCOUNT: "Discount: {subject}",
            Kind.CORRECTION: "Correction: {subject}",
            Kind.COMMITMENT: "Up to the commitment",
            Kind.TRUNCATION: "Small change cut",
        }
    ),
    times=MappingProxyType({"day": "day", "month": "month", "item": "item"}),
    services=MappingProxyType(
        {
            Service.TEXT: "Text chat",
            Service.VOICE: "Voice chat",
            Service.VIDEO: "Video chat",
            Service.TRAFFIC: "Media traffic",
        }
    ),
    units=MappingProxyType(
        {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "GB", Unit.USER: "user"}
    ),
    per=MappingProxyType({}),
)


def words(lang: str) -> Words:
    """Return the words of `lang`: Korean for ko, English for anything else."""
    return KOREAN if lang == "ko" else ENGLISH


def adjustment_title(adjustment: Adjustment, said: Words) -> str:
    """Name an amount beside the lines: what it is, and of what."""
    meter, _, tier = adjustment.subject.rpartition(".")
    if adjustment.titles is not None:
        subject = adjustment.titles.in_(said.lang)
    elif adjustment.subject in METERS:
        subject = METERS[adjustment.subject].title(said.lang)
    elif meter in METERS:
        subject = f"{METERS[meter].title(said.lang)} ({said.tier.format(number=tier)})"
    else:
        subject = adjustment.subject
    return said.kinds[adjustment.kind].format(subject=subject)
