# One job per layer, step and region. It writes only its own shards, and then its marker.
rule downsample:
    input:
        RULES.plan_file,
        lambda job: RULES.needed_by(job),
    output:
        RULES.marker("{layer}.{step}.{region}"),
    log:
        RULES.log("{layer}.{step}.{region}"),
    benchmark:
        RULES.benchmark("{layer}.{step}.{region}")
    wildcard_constraints:
        layer=r"l\d+",
        step=r"s\d+",
        region=r"r\d+",
    conda:
        "../../envs/wkflow.yaml"
    threads: lambda job: RULES.resources(job).threads
    resources:
        mem_mb=lambda job, attempt: RULES.resources(job, attempt).memory_mb,
        runtime=lambda job, attempt: RULES.resources(job, attempt).runtime_minutes,
        connections=lambda job: RULES.connections_of(job),
    params:
        python=lambda _: RULES.python,
        scripts=lambda _: RULES.scripts,
        run_dir=lambda _: RULES.run_dir,
        verify=lambda _: RULES.verify,
        connections=lambda _: RULES.connections,
    shell:
        "{params.python:q} {params.scripts:q}/downsample.py --run-dir {params.run_dir:q} --threads {threads}"
        " --verify {params.verify} --connections {params.connections} --job {wildcards.layer}.{wildcards.step}.{wildcards.region} > {log:q} 2>&1"
