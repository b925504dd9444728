"""Tune."""

from facecluster.ui import widgets

widgets.page_head("Tune")
