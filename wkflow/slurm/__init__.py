"""Jobs on a Slurm cluster: what is asked for them, how they are watched, and why they have ended."""
