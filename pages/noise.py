"""Noise."""

from facecluster.ui import widgets

widgets.page_head("Noise")
