"""Find."""

from facecluster.ui import widgets

widgets.page_head("Find")
