"""wkflow: builds the magnification pyramid of a WEBKNOSSOS dataset with Snakemake."""

__version__ = "0.1.0"
