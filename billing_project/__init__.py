"""Wiring: settings, addresses, server entries. Nothing here knows the business."""

from billing_project.celery import app as celery_app

__all__ = ["celery_app"]
