# Freeze what is to be done, before anything is done.
rule plan:
    output:
        RULES.plan_file,
    log:
        RULES.log("plan"),
    localrule: True
    conda:
        "../../envs/wkflow.yaml"
    threads: 1
    resources:
        mem_mb=400,
        runtime=10,
    params:
        python=lambda _: RULES.python,
        scripts=lambda _: RULES.scripts,
        config=lambda _: RULES.config_json,
    shell:
        "{params.python:q} {params.scripts:q}/plan.py --config {params.config:q} > {log:q} 2>&1"
