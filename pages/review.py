"""Review: one queue of what only a curator can know, in the order of what an answer settles."""

from facecluster.ui import reviewing

reviewing.draw()
