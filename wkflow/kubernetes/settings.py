"""What can be set for the executor, with ``--wkflow-kubernetes-...`` of Snakemake or in a profile."""

from dataclasses import dataclass, field
from typing import Optional  # Snakemake reads the types, and does not know the newer form

from snakemake_executor_plugin_kubernetes import ExecutorSettings as PluginSettings


@dataclass
class ExecutorSettings(PluginSettings):  # type: ignore[misc] # the plugin has no types
    """Those of the plugin, with ``namespace`` from the kubeconfig, and whatever else a pod may need."""

    namespace: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "The namespace for jobs. Default: that of the kubeconfig, or of the pod that this runs in."},
    )
    pod: str = field(
        default="{}",
        metadata={
            "help": "What is put into the spec of each pod, as JSON in the API's words, such as "
            '\'{"nodeSelector": {"disk": "fast"}}\'.'
        },
    )
