"""`python -m streams.contracts`: write docs/asyncapi.yaml, docs/schemas/*.json and the lock of v1, unless that would break v1."""

import json
import sys
from pathlib import Path

from schemas.settings import DEPLOY
from schemas.topics import TOPICS
from streams.contracts.document import document, to_yaml
from streams.contracts.lock import breaks, current, to_json
from streams.contracts.schemas import topic_schema
from streams.topology import TOPOLOGY

DOCS = DEPLOY.parent / "docs"
LOCK = Path("schemas", "v1.lock.json")


def files() -> dict[Path, str]:
    """Return every file that is written, by its path in docs."""
    schemas = {Path("schemas", f"{topic.name}.json"): json.dumps(topic_schema(topic), indent=2) + "\n" for topic in TOPICS}
    return {Path("asyncapi.yaml"): to_yaml(document(TOPOLOGY)), **schemas, LOCK: to_json(current())}


def write(docs: Path) -> list[str]:
    """Write the files below `docs`, or, where they would break the v1 that stands there, nothing; return what would break."""
    lock = docs / LOCK
    broken = breaks(json.loads(lock.read_text(encoding="utf-8")), current()) if lock.exists() else []
    if not broken:
        lock.parent.mkdir(exist_ok=True)
        for path, text in files().items():
            (docs / path).write_text(text, encoding="utf-8")
    return broken


if __name__ == "__main__":
    if found := write(DOCS):
        sys.exit(
            "\n".join(("Nothing is written: v1 would break (docs/contracts.md). Give new fields a default, change no old ones.", *found))
        )
