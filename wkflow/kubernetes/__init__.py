"""Jobs as pods of a Kubernetes cluster: what they are given, how they are made and watched, and why they have ended."""
