"""Sphinx extension: formulas as MathML, which browsers draw themselves.

MathJax, the default, is loaded from the network: without it a reader would see raw TeX.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html import HTMLTranslator

logger = logging.getLogger(__name__)

_ARGUMENT = r"(?:\{(?:[^{}]|\{[^{}]*\})*\}|\\[A-Za-z]+|[A-Za-z])"
_ACCENT = re.compile(rf"(\\(?:hat|bar|tilde|vec|dot|widehat|widetilde|overline)\s*{_ARGUMENT})(?=\s*[_^])")
_SIZES = re.compile(r"\\(?:big|Big|bigg|Bigg)[lrm]?(?![A-Za-z])")


def to_mathml(tex: str, *, block: bool) -> str:
    """A formula as MathML; raises docutils' MathError for a command that it does not know."""
    tex = _ACCENT.sub(r"\1{}", tex)  # else the converter sets the index of an accented letter below it
    tex = _SIZES.sub("", tex).replace(r"\dots", r"\ldots")
    return tex2mathml(tex, as_block=block)


def _visit_inline(translator: HTMLTranslator, node: nodes.math) -> None:
    translator.body.append(_converted(node, block=False))
    raise nodes.SkipNode


def _visit_block(translator: HTMLTranslator, node: nodes.math_block) -> None:
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    # tabindex: so that the keyboard scrolls it
    translator.body.append(translator.starttag(node, "div", CLASS="formula", tabindex="0"))
    translator.body.append(f"{number}{_converted(node, block=True)}</div>\n")
    raise nodes.SkipNode


def _converted(node: nodes.math | nodes.math_block, *, block: bool) -> str:
    try:
        return to_mathml(node.astext(), block=block)
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def setup(app: Sphinx) -> dict:
    """Register the renderer under the name "mathml"."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
