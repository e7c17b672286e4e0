# Verify a layer's new mags and make them part of the dataset, all at once.
rule publish:
    input:
        RULES.plan_file,
        lambda layer: RULES.needed_to_publish(layer),
    output:
        report(RULES.marker("{layer}.published"), caption="../report/published.rst"),
    log:
        RULES.log("{layer}.published"),
    wildcard_constraints:
        layer=r"l\d+",
    localrule: True
    conda:
        "../../envs/wkflow.yaml"
    threads: 1
    resources:
        mem_mb=400,
        runtime=60,
    params:
        python=lambda _: RULES.python,
        scripts=lambda _: RULES.scripts,
        run_dir=lambda _: RULES.run_dir,
        verify=lambda _: RULES.verify,
    shell:
        "{params.python:q} {params.scripts:q}/publish.py --run-dir {params.run_dir:q} --layer {wildcards.layer}"
        " --verify {params.verify} > {log:q} 2>&1"


if RULES.receipt:

    # Tell other workflows that everything is done and verified.
    rule receipt:
        input:
            lambda _: RULES.published(),
        output:
            RULES.receipt,
        log:
            RULES.log("receipt"),
        localrule: True
        conda:
            "../../envs/wkflow.yaml"
        threads: 1
        params:
            python=lambda _: RULES.python,
            scripts=lambda _: RULES.scripts,
            config=lambda _: RULES.config_json,
        shell:
            "{params.python:q} {params.scripts:q}/receipt.py --config {params.config:q} --receipt {output:q} > {log:q} 2>&1"
