"""Checks a template with AWS's own cloudformation-validate. Fails on anything above INFO.

Usage: validate.py TEMPLATE
"""

import sys

from cloudformation_validate import CompositeEngine

ACCEPTED = {"INFO", "DEBUG"}


def main(path: str) -> int:
    diagnostics = CompositeEngine().validate_template(path).diagnostics
    findings = [item for item in diagnostics if item.severity.name not in ACCEPTED]
    for item in findings:
        print(f"{item.severity.name} {item.rule_id}: {item.message}")
    print(f"cloudformation-validate: {len(findings)} findings above INFO in {path}")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
