"""The report of a run, and its forms: screen, HTML, Markdown, JSON. Pure: every form is made of `model.Report` alone.

`model` and `rows` are the record, `style` has shared colours and words, `table` and `timeline` are the screen, `html`
and `markdown` the files, `audit`, `comparisons` and `vulnerabilities` make the rows that all forms share, `fleet` is
the table of `deploys/status.py`. Imports ``rollout``, ``model`` and the ground. A new part of the report: a row class
in `rows`, a field of ``Report``, its lines in one module here, then one call from each form.
"""
