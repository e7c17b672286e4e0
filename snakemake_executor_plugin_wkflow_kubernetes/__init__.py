"""Where Snakemake looks for the executor ``wkflow-kubernetes``: :mod:`wkflow.kubernetes.executor`."""

from snakemake_interface_executor_plugins.settings import CommonSettings

from wkflow.kubernetes.executor import Executor
from wkflow.kubernetes.settings import ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,  # pods and this host have the same volumes
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,  # they may be secrets
    auto_deploy_default_storage_provider=False,
)
