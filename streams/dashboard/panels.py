"""Every panel of the dashboard: title, unit, what it means, its queries; no Grafana in it.

Queries use two of Grafana's own variables, `$scope` and `$__rate_interval`. What a scope publishes of itself it publishes at the end
of a window: `delta` over hours tells what came in that time.
"""

from typing import Literal, NamedTuple

Kind = Literal["line", "stacked", "stat", "states", "table"]


class Query(NamedTuple):
    """One PromQL expression, and what a series of it is called."""

    expression: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: Its name.
        kind: How it is drawn; a table has the labels of its series as columns.
        unit: Grafana's name of the unit.
        description: What is shown, and what to make of it.
        queries: What is drawn.
        width: In columns, of 24.
        steps: Values from which a number turns from green to yellow and red; with `low`, the one below which it is red.
        low: Whether small numbers are the bad ones.
        repeat: The variable for each of whose values the panel is drawn once.
    """

    title: str
    kind: Kind
    unit: str
    description: str
    queries: tuple[Query, ...]
    width: int = 8
    steps: tuple[float, ...] = ()
    low: bool = False
    repeat: str | None = None


class Row(NamedTuple):
    """One row of panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


SCOPE = 'scope=~"$scope"'
# Each process' own metrics carry no name of its part: joined with a metric that only that part has.
PARTS = (
    ("* on (job, instance) group_left (group) npo_worker_info", "{{group}} {{instance}}"),
    ("and on (job, instance) npo_readmodel_round_timestamp_seconds", "publisher {{instance}}"),
    ("and on (job, instance) npo_console_requests_total", "console {{instance}}"),
)


def by_part(expression: str) -> tuple[Query, ...]:
    """Return one query for workers, publisher and console each."""
    return tuple(Query(f"{expression} {joined}", legend) for joined, legend in PARTS)


def quantiles(name: str, by: str = "", matching: str = "") -> tuple[Query, ...]:
    """Return the median and the 99th percentile of a histogram, for each value of a label."""
    labels, legend = (f"{by}, le", f"{{{{{by}}}}} ") if by else ("le", "")
    buckets = f"sum by ({labels}) (rate({name}_bucket{matching}[$__rate_interval]))"
    return tuple(Query(f"histogram_quantile({share}, {buckets})", f"{legend}{said}") for share, said in ((0.5, "median"), (0.99, "p99")))


NOW = Row(
    "Now",
    (
        Panel(
            "Firing alerts", "table", "none", "Alerts of deploy/prometheus/alerts.yaml; docs/monitoring.md has a remedy for each.",
            (Query('count by (alertname, severity, scope, group) (ALERTS{alertname=~"Npo.+", alertstate="firing"})'),), width=12,
        ),
        Panel(
            "Workers ready", "stat", "none",
            "Processes whose /readyz says so, by task group. One of each group is the least: a group without any stands still.",
            (Query("sum by (group) (npo_ready)", "{{group}}"),), width=4, steps=(1,), low=True,
        ),
        Panel(
            "Oldest waiting record", "stat", "s", "How long ago the oldest record that waits in a task was appended, by task group.",
            (Query("max by (group) (npo_oldest_waiting_seconds)", "{{group}}"),), width=4, steps=(60, 300),
        ),
        Panel(
            "Age of the read model", "stat", "s",
            "How long ago the publisher last had everything that it had read in Redis. Beyond seconds the page shows the past.",
            (Query("time() - max(npo_readmodel_round_timestamp_seconds)"),), width=4, steps=(10, 60),
        ),
        Panel(
            "Alarms raised", "states", "none", "Alarms of the pipeline about its own learning: docs/learning/failure-signatures.md.",
            (Query(f"max by (scope, alarm) (npo_scope_alarm{{{SCOPE}}})", "{{scope}}: {{alarm}}"),), width=12, steps=(1,),
        ),
        Panel(
            "Commands in force", "states", "none", "What people have commanded and not taken back, * for all scopes; sources are counted.",
            (Query('max by (scope, what) (npo_scope_in_force{scope=~"$scope|[*]"})', "{{scope}}: {{what}}"),), width=12, steps=(1,),
        ),
    ),
)  # fmt: skip

RECORDS = Row(
    "Records",
    (
        Panel(
            "Taken", "line", "cps", "Records that task groups have taken and committed, by topic; telemetry in Arrow is many samples each.",
            (Query("sum by (group, topic) (rate(npo_records_in_total[$__rate_interval]))", "{{group}}: {{topic}}"),),
        ),
        Panel(
            "Written", "line", "cps", "Records that task groups have written and committed, by topic, refused ones apart.",
            (Query("sum by (group, topic) (rate(npo_outputs_total[$__rate_interval]))", "{{group}}: {{topic}}"),),
        ),
        Panel(
            "Refused", "stacked", "short", "Records that went to a dead-letter topic, by origin and reason; step_failed is a defect.",
            (Query("sum by (topic, reason) (increase(npo_dead_letters_total[$__rate_interval])) > 0", "{{topic}}: {{reason}}"),),
        ),
        Panel(
            "From append to commit", "line", "s", "From the append of a transaction's oldest record to the commit of what came of it.",
            quantiles("npo_append_to_commit_seconds", "group"),
        ),
        Panel(
            "Behind", "line", "short", "Offsets to the last stable one: records, and the markers of transactions between them.",
            (Query("sum by (group, topic) (npo_lag_offsets)", "{{group}}: {{topic}}"),),
        ),
        Panel(
            "Longest work without progress", "line", "s", "A process ends itself and is started again after NPO_STANDSTILL_S, 60 s.",
            (Query("max by (group) (npo_standstill_seconds)", "{{group}}"),), steps=(30, 60),
        ),
    ),
)  # fmt: skip

LOOP = Row(
    "Decisions and answers",
    (
        Panel(
            "Decisions in an hour", "stacked", "short", "Scenarios of the hour before, by what became of them; told at windows' ends.",
            (Query(f"sum by (status) (delta(npo_scope_decisions{{{SCOPE}}}[1h]))", "{{status}}"),),
        ),
        Panel(
            "Answers in an hour", "stacked", "short",
            "Answers in the hour before, each operator's for itself; skipped are decisions that nobody answered in time.",
            (Query(f"sum by (answer) (delta(npo_scope_answers{{{SCOPE}}}[1h]))", "{{answer}}"),),
        ),
        Panel(
            "Waiting for an answer", "line", "short", "Open recommendations that nobody has answered yet, as in the page's queue.",
            (Query(f"sum by (scope) (npo_scope_open{{{SCOPE}}})", "{{scope}}"),),
        ),
        Panel(
            "Overridden, of those answered", "line", "percentunit", "Share of the last day's decisions with a like or override.",
            (
                Query(
                    f'sum by (scope) (delta(npo_scope_judged{{as="overridden", {SCOPE}}}[1d]))'
                    f' / sum by (scope) (delta(npo_scope_judged{{as="answered", {SCOPE}}}[1d]))',
                    "{{scope}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Incidents, of those withheld", "line", "percentunit",
            "Share of the last day's withheld decisions of which an outcome tells: what the threshold has missed.",
            (
                Query(
                    f'sum by (scope) (delta(npo_scope_outcomes{{as="missed", {SCOPE}}}[1d]))'
                    f' / sum by (scope) (delta(npo_scope_outcomes{{as="told", {SCOPE}}}[1d]))',
                    "{{scope}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Override budget left", "line", "short",
            "Overrides by trust that are left, less what open recommendations hold. Under 1 nothing is surfaced but 1 % exploration.",
            (
                Query(
                    f'max by (scope) (npo_scope_override_budget{{counting="trusted", {SCOPE}}})'
                    f' - max by (scope) (npo_scope_override_budget{{counting="open", {SCOPE}}})',
                    "{{scope}}",
                ),
            ),
            width=6, steps=(1,), low=True,
        ),
        Panel(
            "Sources in quarantine", "line", "short", "Sources of answers that count for nothing, by their disagreement or by command.",
            (Query(f'max by (scope) (npo_scope_sources{{which="quarantined", {SCOPE}}})', "{{scope}}"),), width=6,
        ),
    ),
)  # fmt: skip

LOSS = Row(
    "Alignment loss of each scope",
    (
        Panel(
            "Alignment loss: $scope", "line", "short",
            "Cost per scenario over the whole past, with its interval and its target. The loss is surely too large once `low` is above"
            " the target: docs/learning/alignment-loss.md.",
            (Query(f"max by (end) (npo_scope_alignment_loss{{{SCOPE}}})", "{{end}}"),), repeat="scope",
        ),
    ),
)  # fmt: skip

WORKERS = Row(
    "Processes",
    (
        Panel(
            "Time in transactions", "line", "percentunit", "Share of a second that tasks spend in each phase; several tasks add up.",
            (Query("sum by (group, phase) (rate(npo_transaction_seconds_sum[$__rate_interval]))", "{{group}}: {{phase}}"),),
        ),
        Panel(
            "Time in steps", "line", "percentunit", "Share of a second that tasks compute, by the topic that they read.",
            (Query("sum by (group, topic) (rate(npo_step_seconds_total[$__rate_interval]))", "{{group}}: {{topic}}"),),
        ),
        Panel(
            "Records in a block", "line", "short", "How many records a step is given at once: more under load.",
            (
                Query(
                    "sum by (group) (rate(npo_records_in_total[$__rate_interval]))"
                    " / sum by (group) (rate(npo_blocks_total[$__rate_interval]))",
                    "{{group}}",
                ),
            ),
        ),
        Panel("Processor", "line", "percentunit", "Of one core.", by_part("rate(process_cpu_seconds_total[$__rate_interval])")),
        Panel("Memory", "line", "bytes", "Resident.", by_part("process_resident_memory_bytes")),
        Panel(
            "Stores", "line", "bytes", "Bytes of the tasks' local databases; they grow with entities, scopes and classes.",
            (Query("sum by (group) (npo_store_bytes)", "{{group}}"),),
        ),
        Panel(
            "Tasks at work", "line", "short", "Tasks that processes have: one per partition. Fewer for long: a partition has no worker.",
            (Query("sum by (group) (npo_tasks)", "{{group}}"),),
        ),
        Panel(
            "Rebalances in an hour", "line", "short", "Assignments of tasks to processes: workers that come, go, or fall silent.",
            (Query("sum by (group) (increase(npo_rebalances_total[1h]))", "{{group}}"),),
        ),
        Panel(
            "Recovery", "line", "s", "From the latest assignment to tasks at work: how long a new worker reads its changelog.",
            (Query("max by (group) (npo_recovery_seconds)", "{{group}}"),),
        ),
        Panel(
            "Silence of the broker", "line", "s", "Since the broker's last answer to a worker.",
            (Query("max by (group) (npo_broker_silence_seconds)", "{{group}}"),), steps=(10, 60),
        ),
        Panel(
            "Releases and settings", "table", "none",
            "Workers by release and digest of their settings: two digests for longer than a roll-out decide by different rules.",
            (Query("count by (group, version, settings) (npo_worker_info)"),), width=16,
        ),
    ),
)  # fmt: skip

SERVING = Row(
    "Read model and console",
    (
        Panel(
            "From append to read model", "line", "s", "How old the oldest record of a batch is once it is in Redis: how late the page is.",
            quantiles("npo_readmodel_append_to_write_seconds"), width=6,
        ),
        Panel(
            "Read model behind", "line", "short", "Offsets that the publisher has not read yet.",
            (Query("sum by (topic) (npo_readmodel_lag_offsets)", "{{topic}}"),), width=6,
        ),
        Panel(
            "Rebuilds in an hour", "line", "short", "How often the read model was removed and rebuilt: Redis lost it, or it was foreign.",
            (Query("sum(increase(npo_readmodel_rebuilds_total[1h]))", "rebuilds"),), width=4,
        ),
        Panel(
            "Requests", "line", "reqps", "Requests to the console, by status.",
            (Query("sum by (status) (rate(npo_console_requests_total[$__rate_interval]))", "{{status}}"),), width=4,
        ),
        Panel(
            "Time to answer", "line", "s", "The console's, over all requests but streams of events, which end when their reader goes.",
            quantiles("npo_console_request_seconds", matching='{route!~".*/events"}'), width=4,
        ),
    ),
)  # fmt: skip

ROWS = (NOW, RECORDS, LOOP, LOSS, WORKERS, SERVING)
