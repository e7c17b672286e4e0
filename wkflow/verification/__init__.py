"""``wkflow verify``: are the mags of a dataset, whoever made them, what the mags they were made from give?

::

    dataset --survey--> Checks, cut into jobs --check--> a Result per part of a mag --report--> a Verdict per mag
"""
