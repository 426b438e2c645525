"""Checks templates with AWS's own cloudformation-validate. Fails on anything above INFO.

Usage: validate.py TEMPLATE...
"""

import sys

from cloudformation_validate import CompositeEngine

ACCEPTED = {"INFO", "DEBUG"}


def main(paths: list[str]) -> int:
    engine = CompositeEngine()
    findings = [
        f"{path}: {item.severity.name} {item.rule_id}: {item.message}"
        for path in paths
        for item in engine.validate_template(path).diagnostics
        if item.severity.name not in ACCEPTED
    ]
    for finding in findings:
        print(finding)
    print(f"cloudformation-validate: {len(findings)} findings above INFO in {len(paths)} templates")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
