# SPDX-License-Identifier: Apache-2.0
"""The results as text: for each target a line of medians, and below it their ratios to the relay."""
from benchlib.figures import FIGURES


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def ratio_text(ratio):
    return "" if ratio is None else f"{ratio['median']:.2f} {ratio['min']:.2f}..{ratio['max']:.2f}"


def layout(rows, left=(0,)):
    """Columns as wide as they must be, some to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def case_table(case, summary, simulated):
    """`summary`: of figures.summarise."""
    used = [f for f in FIGURES if any(f.name in figures for figures in summary.values())]
    rows = [["target", *(f.head for f in used)]]
    for target, figures in summary.items():
        of = [figures.get(f.name, {}) for f in used]
        rows.append([target, *(number(v.get("median"), f.digits) for v, f in zip(of, used))])
        ratios = [ratio_text(v.get("ratio")) for v in of]
        if any(ratios):
            rows.append(["  to the relay", *ratios])
    return "\n".join([f"{case['name']}: {case['title']} (simulated: {str(simulated).lower()})", *layout(rows)])


def plain_table(title, heads, rows):
    """Rows of text, numbers or None."""
    cells = [[c if isinstance(c, str) else number(c, 1) for c in row] for row in rows]
    return "\n".join([title, *layout([heads, *cells])])
