"""A stand-in for a Kubernetes cluster: it answers as an API server does, and runs pods as processes of this machine."""

from kube.cluster import Cluster
from kube.nodes import Node

__all__ = ["Cluster", "Node"]
