"""facecluster: from face vectors to named people."""

__version__ = "0.1.0"
