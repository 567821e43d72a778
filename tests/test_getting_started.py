"""`docs/getting-started.md` as a stranger walks it: its commands, one after the other, in one shell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "getting-started.md"
# What a person's eyes do: wait until something stands in the queue.
LOOK = "until curl -sS $PAGE/api/v1/queue | grep -q '\"id\"'; do sleep 0.2; done\n"


@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_of_the_page_works_and_the_decision_is_explained(tmp_path: Path) -> None:
    """From `npo up` to `npo down`: telemetry by HTTP and Kafka is taken, a recommendation is answered, and `npo why` tells both."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "".join(
        (LOOK if "/queue" in block else "") + re.sub(r"^(make setup|export PATH=.*)$", "", block, flags=re.MULTILINE) for block in blocks
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NPO_")}
    environment |= {"PATH": path, "NPO_HOME": str(tmp_path / "home"), "NPO_CONSOLE_PORT": "0", "COLUMNS": "200"}
    npo = Path(sys.executable).with_name("npo")
    try:
        ran = subprocess.run(
            [shutil.which("bash") or "bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run([npo, "down", "--wipe"], env=environment, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "201 180 samples" in ran.stdout
    assert "web-2" in ran.stdout
    assert "emma overrode it" in ran.stdout.partition("What came of it")[2], ran.stdout
