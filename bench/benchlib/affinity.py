# SPDX-License-Identifier: Apache-2.0
"""On which CPUs programs run."""
import contextlib
import os
import pathlib


def tasks(pids):
    """All threads of these processes."""
    return [int(task.name) for pid in pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


@contextlib.contextmanager
def one_cpu(pids):
    """These processes, and what this one starts meanwhile, on one and the same CPU; afterwards as before."""
    before = {task: os.sched_getaffinity(task) for task in [0, *tasks(pids)]}
    cpu = {min(before[0])}
    for task in before:
        os.sched_setaffinity(task, cpu)
    try:
        yield
    finally:
        for task, cpus in before.items():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, cpus)
