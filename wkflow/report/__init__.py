"""What a run has made, of what, how fast and how surely: as a page for people, and as JSON for programs."""
