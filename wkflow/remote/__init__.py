"""Datasets on a WEBKNOSSOS server: its addresses, its API, its files.

Knows HTTP, S3 and the model of a dataset; nothing of plans, jobs and Snakemake.
"""
