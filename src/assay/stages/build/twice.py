# SPDX-License-Identifier: Apache-2.0
"""Run the two builds of a module side by side, the second a moment later; each looks around before.

Guards: when one fails or the user stops, no build goes on behind our back. Leaves to others: how a build is run
(`interfaces.builder`), and what differs between the two (`stages.build.surroundings`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from assay.interfaces.builder import Builder, BuildTask
from assay.interfaces.clock import Clock
from assay.stages.build.probe import look_of
from assay.stages.build.surroundings import START_APART_S


def run_both(
    builder: Builder, first: BuildTask, second: BuildTask, clock: Clock, ended: Callable[[], None]
) -> tuple[str, str]:
    """What both builds saw of their surroundings (`probe`), as text. `ended` is called as each ends. Raises what the
    first one to fail raised.
    """

    def run(task: BuildTask) -> str:
        seen = builder.run(look_of(task))
        builder.run(task)
        ended()
        return seen

    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="build") as pool:
        try:
            running = [pool.submit(run, first)]
            clock.sleep(START_APART_S)
            running.append(pool.submit(run, second))
            done, others = wait(running, return_when=FIRST_EXCEPTION)
            if others:
                failed = next(future for future in running if future in done)
                failed.result()
            return running[0].result(), running[1].result()
        except BaseException:
            builder.stop()
            raise
