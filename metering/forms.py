"""The forms that any document can be written in."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from metering.document import Document
from metering.document_html import render_html
from metering.document_pdf import render_pdf
from metering.document_text import render_text
from metering.document_xlsx import render_xlsx

FORMS: Mapping[str, Callable[[Document], bytes]] = MappingProxyType(
    {
        "text": lambda document: render_text(document).encode(),
        "html": lambda document: render_html(document).encode(),
        "xlsx": render_xlsx,
        "pdf": render_pdf,
    }
)
