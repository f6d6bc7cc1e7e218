"""Checks a task file against SkyPilot's own schemas; run by launch/test.sh where SkyPilot is.

python check_skypilot.py launch/skypilot.yaml
"""

import os
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as home:
    os.environ["HOME"] = home  # importing SkyPilot writes there
    os.environ["SKYPILOT_DISABLE_USAGE_COLLECTION"] = "1"
    import yaml
    from sky.utils import common_utils, schemas

    task = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    parts = [(task, schemas.get_task_schema()), (task["resources"], schemas.get_resources_schema())]
    parts += [(bucket, schemas.get_storage_schema()) for bucket in task["file_mounts"].values()]
    for part, schema in parts:
        common_utils.validate_schema(part, schema, "")
        try:
            common_utils.validate_schema(part | {"no-such-key": 1}, schema, "")
        except ValueError:
            continue
        sys.exit("a schema that takes every key checks nothing")
    print(f"{sys.argv[1]}: {len(parts)} parts fit SkyPilot's schemas")
