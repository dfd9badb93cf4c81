"""The template engine, set up once for pages and pictures: everything is escaped, nothing that is missing is empty."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def template_environment() -> Environment:
    """An engine of its own, to which filters and globals may be added."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
