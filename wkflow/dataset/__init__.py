"""A WEBKNOSSOS dataset: its ``datasource-properties.json``, where its arrays lie, and its OME-Zarr metadata."""
