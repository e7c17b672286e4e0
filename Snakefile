# The whole pipeline on one screen: options, plan, rules, and what is to be made.
import sys
from pathlib import Path

HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=False))
if (HOME / "wkflow").is_dir():  # a clone; otherwise wkflow is installed
    sys.path.insert(0, str(HOME))

from wkflow.rules import Rules

RULES = Rules.of(config, HOME, workflow)


report: "workflow/report/workflow.rst"


rule all:
    input:
        lambda _: RULES.everything(),
    localrule: True


include: "workflow/rules/plan.smk"
include: "workflow/rules/downsample.smk"
include: "workflow/rules/publish.smk"


if RULES.reports:

    include: "workflow/rules/report.smk"


if RULES.plan.remote:

    include: "workflow/rules/remote.smk"
