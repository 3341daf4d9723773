# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file about a hardened design, without time stamps, network access or needed scripts.

    result.py     `Result`: what a report is about
    content.py    what a section may hold: texts, facts, tables, bar charts, plots, histograms, treemaps, pictures
    weights.py    what the weights of each layer are: zeros, values, terms
    runs.py       what simulations in work/ measured
    proofs.py     what `hsflow verify` showed of each layer
    sections.py   hsflow's own sections
    roofline.py   a section for plugins that plan: interval against area
    axes.py       where the ticks and points of a plot lie
    treemap.py    where the boxes of a treemap lie
    page.py       sections of plugins joined in, and the page as text

A plugin adds sections by the hook `hsflow_report_sections`.
"""
