"""Every error that the project raises on purpose, as one tree.

NpoError
├── SettingsError            a setting, profile, policy or catalogue that cannot be used
├── RecordError              a record that cannot be processed: goes to the dead-letter topic with its `reason`
│   ├── DecodeError          not the bytes that the schema describes
│   ├── FutureTimeError      event time over an hour ahead of the time the broker appended it
│   ├── PartitionError       a record in another partition than its key belongs to
│   ├── UnknownDecisionError an answer to a decision that this scope does not hold
│   ├── NotSurfacedError     an answer to a decision that nobody was shown
│   ├── ContradictionError   one operator's revision twice, with different content
│   └── TooManyAnswersError  one more answer than a decision takes
├── DomainError              a number that a rule is not defined for, given to it by a loop of one's own
├── TopologyError            topics or partitions that do not fit the topology
├── PositionError            positions that the log no longer holds, or a gap in what was delivered
├── StateError               state that cannot be read or written
│   └── RowError             a row of another schema version than this release reads
├── EmbeddedServerError      an embedded Kafka or Valkey that does not start, or a jar that differs from the lock
├── StackError               `npo up` has not been run, or its servers are gone
├── LogFileError             an exported log that is not complete or not readable
└── ReplayError              a replay that cannot start, with the reason
"""


class NpoError(Exception):
    """Root of the tree; the message says what was wrong, with which value, and what to do."""


class SettingsError(NpoError):
    """A setting, profile, policy or catalogue that cannot be used."""


class RecordError(NpoError):
    """A record that cannot be processed; `reason` names the kind of fault in the dead-letter headers."""

    reason = "invalid"


class DecodeError(RecordError):
    """Not the bytes that the schema describes."""

    reason = "undecodable"


class FutureTimeError(RecordError):
    """Event time over an hour ahead of the time at which the broker appended the record."""

    reason = "future_time"


class PartitionError(RecordError):
    """A record in another partition than its key belongs to."""

    reason = "wrong_partition"


class UnknownDecisionError(RecordError):
    """An answer to a decision that this scope does not hold."""

    reason = "unknown_decision"


class NotSurfacedError(RecordError):
    """An answer to a decision that nobody was shown."""

    reason = "not_surfaced"


class ContradictionError(RecordError):
    """One operator's revision twice, with different content."""

    reason = "contradictory_revision"


class TooManyAnswersError(RecordError):
    """One more answer than a decision takes."""

    reason = "too_many_answers"


class DomainError(NpoError, ValueError):
    """A number that a rule is not defined for: NaN, infinite, or outside its range."""


class TopologyError(NpoError):
    """Topics or partitions that do not fit the topology."""


class PositionError(NpoError):
    """Positions that the log no longer holds, or a gap in what was delivered."""


class StateError(NpoError):
    """State that cannot be read or written: no fault of a record, so that it stops the worker and makes no dead letter."""


class RowError(StateError):
    """A row of state of another schema version than this release reads."""


class EmbeddedServerError(NpoError):
    """An embedded server that does not start, or a jar that differs from the lock."""


class StackError(NpoError):
    """The stack that a command needs is not running."""


class LogFileError(NpoError):
    """An exported log that is not complete or not readable."""


class ReplayError(NpoError):
    """A replay that cannot start."""
