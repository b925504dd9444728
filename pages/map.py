"""Map."""

from facecluster.ui import widgets

widgets.page_head("Map")
