"""Person."""

from facecluster.ui import widgets

widgets.page_head("Person")
