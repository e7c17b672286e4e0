"""Voxel arrays: read any wkw, zarr or zarr3 array, and write those of new mags shard by shard in little memory.

In memory voxels are always C-contiguous ``[c, z, y, x]``, x fastest, whatever order the array is stored in.
"""
