"""Pictures of a dataset: slices through the middle of each mag, at the same physical scale."""
