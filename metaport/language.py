"""Korean and English: which one the person at the terminal reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Lang = Literal["ko", "en"]


class Say(NamedTuple):
    """Hold one sentence in both languages."""

    ko: str
    en: str

    def to(self, lang: Lang) -> str:
        return self.ko if lang == "ko" else self.en


def preferred(environ: Mapping[str, str]) -> Lang:
    """Choose by the locale variables, in POSIX order of precedence; English where none says."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environ.get(name, "")
        if value:
            return "ko" if value.lower().startswith("ko") else "en"
    return "en"
