"""All statements of an engine, compiled once for its dialect."""

from __future__ import annotations

from copy import copy
from functools import lru_cache

from koboldfs.store.phrases import Tongue
from koboldfs.store.statements_files import FileStatements
from koboldfs.store.statements_health import HealthStatements
from koboldfs.store.statements_queues import QueueStatements
from koboldfs.store.statements_quick import QuickStatements
from koboldfs.store.statements_scrubs import ScrubStatements
from koboldfs.store.statements_tasks import TaskStatements
from koboldfs.store.statements_topology import TopologyStatements


class Statements(
    FileStatements,
    QuickStatements,
    TopologyStatements,
    QueueStatements,
    TaskStatements,
    ScrubStatements,
    HealthStatements,
):
    """Every phrase as an attribute; `statements_*` say which there are."""

    def __init__(self, tongue: Tongue) -> None:
        FileStatements.__init__(self, tongue)
        QuickStatements.__init__(self, tongue)
        TopologyStatements.__init__(self, tongue)
        QueueStatements.__init__(self, tongue)
        TaskStatements.__init__(self, tongue)
        ScrubStatements.__init__(self, tongue)
        HealthStatements.__init__(self, tongue)

    def as_found(
        self, *, folds_keys: bool, keeps_task_args: bool, sorts_keys: bool
    ) -> Statements:
        """The same, for a database to which different keys can be the same, whose
        `file_to_queue` has no column `arg` (schema 11 and 12), or whose column of the
        keys sorts by bytes by itself."""
        found = copy(self)
        found.folds_keys = folds_keys
        if not keeps_task_args:
            found.forget_task_args()
            found.queue_rows = found.queue_rows | found.bare_queue_rows
        if not sorts_keys:
            found.trust_key_order()
        return found


@lru_cache(maxsize=4)
def statements_for(dialect_name: str) -> Statements:
    """The statements of ``postgresql``, ``sqlite`` or ``mysql``."""
    return Statements(Tongue(dialect_name))
