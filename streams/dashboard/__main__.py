"""Write deploy/grafana/npo.json."""

import sys

from schemas.settings import DEPLOY

try:
    from streams.dashboard.grafana import document
except ModuleNotFoundError as error:
    sys.exit(f"{error}: the dashboard is written with Grafana's SDK, a tool of development; `make setup` installs it")

path = DEPLOY / "grafana" / "npo.json"
path.parent.mkdir(exist_ok=True)
path.write_text(document(), encoding="utf-8")
