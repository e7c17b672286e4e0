# Hand a new mag over to the server, as soon as it is complete, finest first.
rule transfer:
    input:
        RULES.plan_file,
        lambda mag: RULES.needed_to_transfer(mag),
    output:
        report(
            RULES.marker("{layer}.{mag}.transferred"),
            caption="../report/transferred.rst",
        ),
    log:
        RULES.log("{layer}.{mag}.transferred"),
    wildcard_constraints:
        layer=r"l\d+",
        mag=r"\d+(-\d+-\d+)?",
    localrule: True
    conda:
        "../../envs/wkflow.yaml"
    threads: 1
    resources:
        mem_mb=400,
        runtime=600,
        connections=RULES.connections,
    params:
        python=lambda _: RULES.python,
        scripts=lambda _: RULES.scripts,
        run_dir=lambda _: RULES.run_dir,
        how=lambda _: RULES.transfer_options,
        verify=lambda _: RULES.verify,
    shell:
        "{params.python:q} {params.scripts:q}/transfer.py --run-dir {params.run_dir:q} --layer {wildcards.layer}"
        " --mag {wildcards.mag} {params.how} --verify {params.verify} > {log:q} 2>&1"
