"""The mark that makes a PDF/A-3 with an attached XML a Factur-X file.

Typst attaches the XML but cannot write XMP of its own, and the `factur-x` library stamps the time
of its run into the file. So the mark is added here, as an incremental update of the metadata alone:
the same invoice makes the same bytes.
"""

from __future__ import annotations

import io
import re

from lxml import etree
from pypdf import PdfReader
from pypdf.generic import StreamObject

FILE_NAME = "factur-x.xml"
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "pdfaExtension": "http://www.aiim.org/pdfa/ns/extension/",
}
SCHEMAS = "rdf:RDF/rdf:Description/pdfaExtension:schemas/rdf:Bag"
# Factur-X 1.0, section 6.2: the four properties, and the schema that declares them, which PDF/A
# wants of every property that it does not know.
PROPERTIES = {
    "DocumentFileName": (FILE_NAME, "The name of the embedded XML document"),
    "DocumentType": ("INVOICE", "The type of the hybrid document in capital letters"),
    "Version": ("1.0", "The version of the standard applying to the embedded XML document"),
    "ConformanceLevel": ("EN 16931", "The conformance level of the embedded XML document"),
}
PREFIX = "fx"
URN = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
DECLARED = f"""<rdf:li rdf:parseType="Resource" xmlns:rdf="{NAMESPACES["rdf"]}"
  xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"
  xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>{URN}</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>{PREFIX}</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq>%s</rdf:Seq></pdfaSchema:property></rdf:li>"""
DECLARED_PROPERTY = """<rdf:li rdf:parseType="Resource">
<pdfaProperty:name>{name}</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType>
<pdfaProperty:category>external</pdfaProperty:category>
<pdfaProperty:description>{meaning}</pdfaProperty:description></rdf:li>"""

ENDING = re.compile(rb"trailer\s*<<(.*?)>>\s*startxref\s+(\d+)\s+%%EOF\s*\Z", re.DOTALL)
CHANGED = b"%d 0 obj\n<</Type/Metadata/Subtype/XML/Length %d>>\nstream\n%s\nendstream\nendobj\n"
UPDATE = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<<%s/Prev %d>>\nstartxref\n%d\n%%%%EOF\n"


def mark(pdf: bytes) -> bytes:
    """Return the PDF/A-3 with the metadata that says: the attached XML is this invoice.

    Only what changes is appended (ISO 32000-1, 7.5.6). pypdf would do that too, but with a
    cross-reference stream after typst's table, and without the line ends that PDF/A asks for.
    """
    root = PdfReader(io.BytesIO(pdf)).root_object
    number = root.raw_get("/Metadata").idnum
    metadata = root["/Metadata"]
    ending = ENDING.search(pdf)
    if ending is None or not isinstance(metadata, StreamObject):
        raise ValueError("This is no PDF as typst writes them")
    xmp = _extended(metadata.get_data())
    said = pdf.rstrip(b"\n") + b"\n"
    body = CHANGED % (number, len(xmp), xmp)
    trailer, previous = ending.groups()
    places = (number, len(said), trailer, int(previous), len(said) + len(body))
    return said + body + UPDATE % places


def _extended(xmp: bytes) -> bytes:
    root = etree.fromstring(xmp)
    schemas = root.find(SCHEMAS, NAMESPACES)
    declared = "".join(
        DECLARED_PROPERTY.format(name=name, meaning=meaning)
        for name, (_value, meaning) in PROPERTIES.items()
    )
    schemas.append(etree.fromstring(DECLARED % declared))
    rdf = f"{{{NAMESPACES['rdf']}}}"
    said = etree.SubElement(root[0], f"{rdf}Description", {f"{rdf}about": ""}, {PREFIX: URN})
    for name, (value, _meaning) in PROPERTIES.items():
        etree.SubElement(said, f"{{{URN}}}{name}").text = value
    return bytes(etree.tostring(root.getroottree(), encoding="UTF-8"))
