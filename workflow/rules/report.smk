# Tell people and programs what was made, and show it.
rule summary:
    input:
        lambda _: RULES.published(),
    output:
        report(RULES.reports, caption="../report/summary.rst"),
    log:
        RULES.log("summary"),
    localrule: True
    conda:
        "../../envs/wkflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        python=lambda _: RULES.python,
        scripts=lambda _: RULES.scripts,
        config=lambda _: RULES.config_json,
        run_dir=lambda _: RULES.run_dir,
    shell:
        "{params.python:q} {params.scripts:q}/report.py --config {params.config:q} --run-dir {params.run_dir:q} > {log:q} 2>&1"
