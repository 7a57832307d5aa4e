import pytest

from metaport.language import Lang, Say, preferred


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR"}, "ko"),
        ({"LC_ALL": "", "LANG": "ko"}, "ko"),
    ],
)
def test_the_locale_variables_choose_in_posix_order(environ: dict[str, str], lang: Lang) -> None:
    assert preferred(environ) == lang
    assert Say("안녕", "hello").to(lang) == ("안녕" if lang == "ko" else "hello")
