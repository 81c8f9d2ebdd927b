"""A bundle's report as one file of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...runtime.bundle.bundle import Bundle
from ...runtime.files import publish_file
from .content import compose

TEMPLATE = Path(__file__).with_name("page.html")


def render(bundle: Bundle) -> str:
    """The page: it loads nothing from elsewhere and holds no script.

    Args:
        bundle: any; what it does not know is left out.
    """
    return fill(TEMPLATE, report=compose(bundle))


def fill(template: Path, **values: Any) -> str:
    """A page of HTML from its template; a name that the template uses and nobody gives is an error.

    Args:
        template: its file.
        values: what it shows, by name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,  # what a bundle says of itself is untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values) + "\n"


def write(bundle: Bundle, out: Path) -> None:
    """Publish the page as a file.

    Raises:
        OutputError: the place cannot be written.
    """
    page = render(bundle)
    with publish_file(out) as draft:
        draft.write_text(page, encoding="utf-8")
