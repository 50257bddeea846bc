"""The machines' door: REST under /api/v1.

Owns: authentication by API key, JSON shapes, problem details, pagination, the OpenAPI document.
Never: a rule or a row. It parses, calls one service or selector, and renders.
"""
