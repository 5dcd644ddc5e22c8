"""Turn values into terminal tables, JSON and one-file HTML; nothing is computed here."""

from edgewise.reporting.inspection import (
    cuts_table,
    inspection_facts,
    trim_summary,
    trim_table,
)
from edgewise.reporting.inspection_json import inspection_json
from edgewise.reporting.inspection_page import write_inspection
from edgewise.reporting.json_form import (
    demo_json,
    given_json,
    plan_json,
    plans_json,
    trial_json,
)
from edgewise.reporting.node_data import node_data_json, write_node_data
from edgewise.reporting.operators import operators_table
from edgewise.reporting.page import (
    DemoPage,
    PageAnswer,
    answers_summary,
    demo_table,
    write_demo,
)
from edgewise.reporting.page_file import write_report
from edgewise.reporting.sheet import Column, Sheet
from edgewise.reporting.tables import (
    candidates_table,
    given_table,
    plans_table,
    trials_table,
)
from edgewise.reporting.terminal import terminal_table

__all__ = [
    "Column",
    "DemoPage",
    "PageAnswer",
    "Sheet",
    "answers_summary",
    "candidates_table",
    "cuts_table",
    "demo_json",
    "demo_table",
    "given_json",
    "given_table",
    "inspection_facts",
    "inspection_json",
    "node_data_json",
    "operators_table",
    "plan_json",
    "plans_json",
    "plans_table",
    "terminal_table",
    "trial_json",
    "trials_table",
    "trim_summary",
    "trim_table",
    "write_demo",
    "write_inspection",
    "write_node_data",
    "write_report",
]
