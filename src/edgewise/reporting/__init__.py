"""Turn values into terminal tables, JSON and one-file HTML; nothing is computed here."""

from edgewise.reporting.json_form import (
    demo_json,
    inspection_json,
    operator_counts,
    plan_json,
    plans_json,
)
from edgewise.reporting.page import DemoPage, PageAnswer, PagePlan, write_page
from edgewise.reporting.tables import (
    answers_summary,
    answers_table,
    candidates_table,
    cuts_table,
    demo_table,
    given_table,
    plain_table,
    plans_table,
    trials_table,
)

__all__ = [
    "DemoPage",
    "PageAnswer",
    "PagePlan",
    "answers_summary",
    "answers_table",
    "candidates_table",
    "cuts_table",
    "demo_json",
    "demo_table",
    "given_table",
    "inspection_json",
    "operator_counts",
    "plain_table",
    "plan_json",
    "plans_json",
    "plans_table",
    "trials_table",
    "write_page",
]
