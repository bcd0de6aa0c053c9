"""An open reproduction of five computer-vision papers on faces and lips."""

__version__ = "0.1.0"
