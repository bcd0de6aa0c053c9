"""How this reproduction is cited, from CITATION.cff."""

from pathlib import Path

import yaml

from reprolib.paths import ROOT


def bibtex(path: Path = ROOT / "CITATION.cff") -> str:
    """The BibTeX entry of a citation file with title, authors and version."""
    cited = yaml.safe_load(path.read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{author['name']}}}" for author in cited["authors"])
    fields = {
        "title": cited["title"],
        "author": authors,
        "note": f"Version {cited['version']}, {cited['license']} licence",
    }
    lines = [f"  {name:<7}= {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@misc{reprolib,", *lines, "}"])
