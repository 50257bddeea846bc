"""The stand-in itself, without any transport: a request goes in, an answer comes out."""

from __future__ import annotations

from apps.sandbox.engine.handling import Answer, Sandbox

__all__ = ["Answer", "Sandbox"]
