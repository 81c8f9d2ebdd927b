"""A bundle's report as one file of HTML."""

from __future__ import annotations

from pathlib import Path

from ...runtime.bundle.bundle import Bundle
from ...runtime.files import publish_file
from .content import compose

TEMPLATE = "page.html"


def render(bundle: Bundle) -> str:
    """The page: it loads nothing from elsewhere and holds no script.

    Args:
        bundle: any; what it does not know is left out.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # what a bundle says of itself is untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(report=compose(bundle)) + "\n"


def write(bundle: Bundle, out: Path) -> None:
    """Publish the page as a file.

    Raises:
        OutputError: the place cannot be written.
    """
    page = render(bundle)
    with publish_file(out) as draft:
        draft.write_text(page, encoding="utf-8")
