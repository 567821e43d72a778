"""The system on one page: who reads what, which step decides, what it writes. The rest is derived from this table."""

from agents.deciding.decider import decide
from agents.deciding.learner import learn
from agents.encoding.encoder import encode
from agents.monitoring.monitor import monitor
from agents.training.trainer import train
from schemas.topics import (
    ALIGNMENT,
    CONTROL,
    DECISION,
    FEEDBACK,
    JUDGEMENT,
    MODEL,
    OUTCOME,
    RECOMMENDATION,
    RETRAINING_COMMAND,
    RETRAINING_RESULT,
    SCENARIO,
    TELEMETRY,
)
from streams.groups import Agent, TaskGroup, TopicPlan, changelog, consumer_group, describe, mermaid, plan_topics

__all__ = ["TOPOLOGY", "Agent", "TaskGroup", "TopicPlan", "changelog", "consumer_group", "describe", "mermaid", "plan_topics"]

TOPOLOGY = (
    TaskGroup("encoding", state="entities", agents=(
        Agent("encoder", reads=(TELEMETRY,), step=encode, writes=(SCENARIO,)),
    )),
    TaskGroup("deciding", state="scopes", agents=(
        Agent("decider", reads=(SCENARIO, CONTROL, MODEL), step=decide, writes=(DECISION, RECOMMENDATION, JUDGEMENT, ALIGNMENT)),
        Agent("learner", reads=(FEEDBACK, OUTCOME), step=learn, writes=(RECOMMENDATION, JUDGEMENT, ALIGNMENT)),
    )),
    TaskGroup("training", state="models", agents=(
        Agent("trainer", reads=(JUDGEMENT, RETRAINING_COMMAND, MODEL, CONTROL), step=train, writes=(RETRAINING_RESULT, MODEL, ALIGNMENT)),
    )),
    TaskGroup("monitoring", state="monitors", agents=(
        Agent("monitor", reads=(ALIGNMENT, RETRAINING_RESULT), step=monitor, writes=(RETRAINING_COMMAND, ALIGNMENT)),
    )),
)  # fmt: skip
